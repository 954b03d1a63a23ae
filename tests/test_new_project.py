"""`diffusion-lab new`: a project of one's own that works as it is, through every command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import diffusion_lab
from diffusion_lab.commands.new_command import TEMPLATE, new
from diffusion_lab.errors import LabError
from doors import typed


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A new project, called `halos`."""
    folder = tmp_path_factory.mktemp("work") / "halos"
    new([str(folder)])
    return folder


def variables(project):
    path = os.pathsep.join([str(project), str(Path(diffusion_lab.__file__).parents[1])])
    return {"PYTHONPATH": path, "DIFFUSION_LAB_TRUST": "halos", "OMP_NUM_THREADS": "1"}


def test_its_files_are_called_and_speak_as_the_project_does(project):
    files = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert {"README.md", "pyproject.toml", ".gitignore", "halos/conv_net.py", "conf/experiment/discs.yaml"} <= files
    assert len(files) == sum(path.is_file() and "__pycache__" not in path.parts for path in TEMPLATE.rglob("*"))
    texts = [(project / name).read_text() for name in files]
    assert not any("my_project" in text for text in [*files, *texts])
    assert sum("halos" in text for text in texts) > 5


def test_git_takes_all_of_its_files(project):
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=project, check=True, capture_output=True, text=True
    )  # fmt: skip
    shutil.rmtree(project / ".git")
    files = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} == set(listed.stdout.split())


@pytest.mark.slow
def test_its_own_tests_pass(project):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."]
    done = subprocess.run(
        command, cwd=project, env={**os.environ, **variables(project)}, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


@pytest.mark.slow
def test_its_experiment_is_trained_resumed_drawn_from_and_reproduced_as_its_readme_says(project):
    def said(script, *arguments):
        done = typed(script, arguments, project, DIFFUSION_LAB_OUTPUT_DIR=f"{project}/outputs", **variables(project))
        assert done.status == 0, done.err
        return done.out

    small = ("trainer.max_epochs=1", "data.limit_train=100", "sampler.num_steps=5", "sampling.num_samples=4")
    assert "QuadraticSchedule" in said("train", "--config-dir", "conf", "experiment=discs", *small)
    (run,) = (project / "outputs" / "discs").iterdir()
    said("sample", f"run_dir={run}", "num_samples=4", "seed=7")
    said("train", f"resume={run}", "trainer.max_epochs=2")
    again = said("reproduce", f"run_dir={run}", f"paths.output_dir={project}/again")
    assert "identical: 2 steps, weights, metrics, samples" in again


@pytest.mark.slow
def test_a_project_that_python_does_not_find_is_answered_with_what_helps(project):
    done = typed("train", ["--config-dir", "conf", "experiment=discs"], project, DIFFUSION_LAB_TRUST="halos")
    assert done.status == 1
    assert "No module named 'halos': install the package that has it, or put the folder of halos into" in done.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "new: name one folder"),
        (["a", "b"], "new: name one folder"),
        (["name=a"], "new: name one folder"),
        (["My-Project"], "new My-Project: 'My-Project' cannot be a package's name"),
        (["class"], "new class: 'class' cannot be a package's name"),
        (["torch"], "new torch: Python would import another package called torch"),
        (["here"], "new here: it is there already"),
        (["data"], "new data: the project has a folder data for something else"),
        (["__main__"], "new __main__: '__main__' cannot be a package's name"),
    ],
)
def test_what_cannot_be_a_project_is_refused_and_nothing_is_written(arguments, line, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabError) as caught:
        new(arguments)
    assert str(caught.value).startswith(line)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
