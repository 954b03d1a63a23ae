"""The command `diffusion-lab`: what it lists, what it answers, and that it works where there is only the package."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import diffusion_lab
from conftest import TINY
from diffusion_lab.commands import entry_point
from diffusion_lab.commands.completion import script
from diffusion_lab.config.command_names import as_typed
from diffusion_lab.config.tree import conf_dir

ROOT = Path(__file__).parents[1]


@pytest.fixture
def said(monkeypatch, capsys):
    """A function from what is typed behind `diffusion-lab` to its status and what it prints on stdout and stderr."""

    def typed(*arguments):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/diffusion-lab", *arguments])
        status = 0
        try:
            entry_point.main()
        except SystemExit as left:
            status = left.code
        return status, *capsys.readouterr()

    return typed


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)])
def test_it_lists_its_commands_with_what_they_do(said, arguments):
    status, out, err = said(*arguments)
    assert (status, err) == (0, "")
    for name in entry_point.COMMANDS:
        (line,) = (line for line in out.splitlines() if line.startswith(f"  {name} "))
        assert len(line.split()) > 2
        assert line.endswith(".")
        assert len(line) <= 120


def test_each_command_has_a_script_of_its_name_that_is_the_same(said):
    for name in entry_point.COMMANDS:
        path = ROOT / "scripts" / f"{name}.py"
        assert path.is_file() is (name != "new")  # a clone has its own tests and config files to begin with
        assert name == "new" or f"from diffusion_lab.commands.{name}_command import main" in path.read_text()


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("trian", "Error: there is no command trian; did you mean train?; there are new, train, "),
        ("-x", "Error: there is no command -x; there are new, train, "),
        ("completion", "Error: completion: name one shell, bash or zsh"),
        ("completion fish", "Error: completion: name one shell, bash or zsh"),
        ("sample run_dir=", "Error: run_dir is empty"),
        ("compare_draws nowhere", "Error: there is no folder nowhere"),
        ("verify-resume kills=-1 data=digits", "Error: kills must be"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(said, typed, line):
    status, out, err = said(*typed.split())
    assert (status, out) == (1, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_its_version_is_that_of_the_package(said):
    status, out, _ = said("--version")
    assert status == 0
    assert out.split()[0] == "diffusion-lab"
    assert out.split()[1] in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", [name for name in entry_point.COMMANDS if name != "new"])
def test_help_names_commands_as_they_are_typed(said, name):
    status, out, err = said(name, "--help")
    assert (status, err) == (0, "")
    assert f"diffusion-lab {name}" in out
    assert "scripts/" not in out
    assert "-sc install" not in out


def test_paths_and_scripts_that_are_no_commands_are_left_as_they_are(said, tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.py").touch()
    assert f"{tmp_path}/scripts/train.py is a file" in said("compare", f"{tmp_path}/scripts/train.py")[2]
    assert as_typed("python scripts/recipes.py, scripts/train.py") == "python scripts/recipes.py, diffusion-lab train"


def test_errors_name_commands_as_they_are_typed(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "draw").mkdir()
    status, _, err = said("compare_draws", "draw")
    assert status == 1
    assert "diffusion-lab sample run_dir=… writes them" in err


@pytest.fixture
def completed(tmp_path):
    """A function from a line to what bash offers after it, where `diffusion-lab` is this package."""
    shim = tmp_path / "diffusion-lab"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m diffusion_lab "$@"\n')
    shim.chmod(0o755)
    (tmp_path / "script").write_text(script("bash", entry_point.COMMANDS))

    def of(line):
        count = len(line.split()) - (not line.endswith(" "))
        ask = f'. ./script; COMP_LINE="{line}"; COMP_CWORD={count}; _diffusion_lab; echo "${{COMPREPLY[@]}}"'
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        source = str(Path(diffusion_lab.__file__).parents[1])
        done = subprocess.run(
            ["bash", "-c", ask], cwd=tmp_path, env={**os.environ, "PATH": path, "PYTHONPATH": source},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.split()

    return of


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("diffusion-lab ", [*entry_point.COMMANDS, "completion"]),
        ("diffusion-lab tr", ["train", "train_features"]),
        ("diffusion-lab runs older", ["older_than="]),
        ("diffusion-lab completion z", ["zsh"]),
        ("diffusion-lab new ", ["diffusion-lab", "script"]),  # files and folders
        ("diffusion-lab compare-draws ou", ["out="]),
        ("diffusion-lab nothing ", ["diffusion-lab", "script"]),
        pytest.param("diffusion-lab train schedule=co", ["schedule=cosine"], marks=pytest.mark.slow),
        pytest.param("diffusion-lab sample num_sam", ["num_samples="], marks=pytest.mark.slow),
    ],
)
def test_bash_completes_commands_keys_and_options(completed, line, offered):
    assert completed(line) == offered


def test_zsh_reads_the_lines_of_bash_after_one_of_its_own():
    assert script("zsh", entry_point.COMMANDS).split("\n", 1) == [
        "autoload -U +X bashcompinit && bashcompinit",
        script("bash", entry_point.COMMANDS),
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the package as a wheel holds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_holds_all_that_the_commands_need_and_no_tests(site):
    package = site / "diffusion_lab"
    assert {path.relative_to(conf_dir()) for path in conf_dir().rglob("*.yaml")} == {
        path.relative_to(package / "conf") for path in (package / "conf").rglob("*.yaml")
    }
    assert not (site / "tests").exists()
    (entry,) = site.glob("*.dist-info/entry_points.txt")
    assert "diffusion-lab = diffusion_lab.commands.entry_point:main" in entry.read_text()


@pytest.mark.slow
def test_it_trains_and_draws_where_there_is_only_the_package(site, tmp_path):
    def ended(*arguments):
        variables = {k: v for k, v in os.environ.items() if not k.startswith("DIFFUSION_LAB")}
        return subprocess.run(
            [sys.executable, "-m", "diffusion_lab", *arguments], cwd=tmp_path,
            env=variables | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            timeout=100, check=False,
        )  # fmt: skip

    done = ended("train", *TINY, "trainer.max_epochs=1", "evaluation=none")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs" / "tiny").iterdir()
    next_ = next(line for line in done.stdout.splitlines() if line.startswith("diffusion-lab sample run_dir="))
    done = ended(*next_.split()[1:])
    assert done.returncode == 0, done.stderr
    assert (run / "samples").is_dir()
    made_by = json.loads((run / "manifest.json").read_text())["sessions"][0]["argv"]
    assert made_by[:2] == [f"{site}/diffusion_lab/__main__.py train", "data=digits"]


def test_in_python_a_run_is_trained_drawn_from_and_listed(tmp_path, coarse_figures):
    run = diffusion_lab.train([*TINY, "trainer.max_epochs=1", f"paths.output_dir={tmp_path}", "notes=with blanks"])
    assert run.sample(3, seed=1).shape == (3, 1, 8, 8)
    (record,) = diffusion_lab.records(tmp_path)
    assert record["folder"] == str(run.folder.path)
    assert (record["state"], record["name"], record["notes"]) == ("finished", "tiny", "with blanks")
    assert record["config.trainer.max_epochs"] == 1
    assert record["metrics.val/loss"] > 0
    again = diffusion_lab.train(f"resume={run.folder.path} trainer.max_epochs=2")
    assert again.step == 2 * run.step
    assert (run.folder.path / "config.yaml").write_text("[") == 1
    assert diffusion_lab.records(tmp_path) == [{"folder": str(run.folder.path), "state": "damaged"}]


def test_in_python_parts_are_built_as_a_run_begins_with_them(tmp_path, coarse_figures):
    typed = [*TINY, "seed=5", f"paths.output_dir={tmp_path}"]
    parts = diffusion_lab.build(typed)
    assert not list(tmp_path.iterdir())
    assert parts.data.split("val", 3)[0].shape == (3, 1, 8, 8)
    run = diffusion_lab.train([*typed, "optimizer.lr=1e-30", "trainer.max_epochs=1"])
    begun = parts.network.state_dict()
    for name, value in run.parts.network.state_dict().items():
        torch.testing.assert_close(value, begun[name])
    other = diffusion_lab.build([*typed, "seed=6"]).network.state_dict()
    assert any(not torch.equal(value, other[name]) for name, value in begun.items())


def test_in_python_a_run_is_loaded_with_the_sampler_that_is_typed(recorded):
    run = diffusion_lab.load_run(recorded.path, overrides="sampler=ddim sampler.num_steps=3 grid=quadratic clip=none")
    assert run.parts.pipeline.draw(2).evaluations == 3
    assert (run.settings.sampler["eta"], run.settings.clip) == (0.0, {})
    assert run.settings.grid["_target_"].endswith("Quadratic")
    assert diffusion_lab.load_run(recorded.path, overrides=["sampler.num_steps=2"]).settings.sampler["num_steps"] == 2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("num_samples=4", r"num_samples=4: of a trained run, sampler, grid, guidance, clip can be changed"),
        ("network.base_channels=8", r"network.base_channels=8: of a trained run, sampler, grid, "),
        ("sampler=dimm", r"sampler=dimm"),
        ("sampler=ddim sampler.num_step=4", r"no key sampler.num_step; did you mean num_steps"),
    ],
)
def test_in_python_a_change_that_a_run_cannot_take_is_named(typed, said, recorded):
    with pytest.raises(diffusion_lab.errors.LabError, match=said):
        diffusion_lab.load_run(recorded.path, overrides=typed)


@pytest.mark.parametrize("typed", ["network.base_chanels=8", ["network.base_chanels=8"]])
def test_in_python_what_is_misspelled_is_named(typed):
    with pytest.raises(diffusion_lab.errors.LabError, match=r"no key network.base_chanels; did you mean base_channels"):
        diffusion_lab.train(typed)
