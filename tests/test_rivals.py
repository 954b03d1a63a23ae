"""The promise of CONTRIBUTING: a rival is one file and one YAML, and everything works with it.

The files of tests/rivals are put into a copy of src/ and conf/: a schedule, parameterization, objective, network with
labels, sampler, guidance and codec for images, and all that masked diffusion of words needs. No file that was there is
changed. Each copy then trains, resumes, samples and reproduces, by the doors that people use.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffusion_lab.config.tree import conf_dir

pytestmark = pytest.mark.slow

RIVALS = Path(__file__).parent / "rivals"

IMAGES = (
    "data=digits", "data.image_size=8", "schedule=square_root", "schedule.steps=50", "parameterization=scaled_score",
    "objective=huber", "network=labelled_mlp", "codec=halved", "sampler=renoising", "sampler.num_steps=5",
    "guidance=negative_label", "callbacks.samples.every_n_epochs=1",
)  # fmt: skip
WORDS = (
    "data=letters", "codec=plain_letters", "schedule=straight", "process=erasing", "parameterization=copying",
    "objective=masked", "network=token_mlp", "sampler=unmasking", "callbacks.samples.every_n_epochs=1", "ema=default",
)  # fmt: skip
RUN = (
    "data.limit_train=90",
    "data.batch_size=30",
    "trainer=cpu",
    "trainer.log_every_n_steps=1",
    "name=rival",
    "sampling.num_samples=12",
)

#: Types several commands in one process, since every new one loads torch. RUN stands for the folder of the one run.
DRIVER = """
import json, runpy, sys
from pathlib import Path
runs, commands = Path(sys.argv[1]), json.loads(sys.argv[2])
for script, *arguments in commands:
    found = list(runs.iterdir()) if runs.is_dir() else []
    sys.argv = [script, *(argument.replace("RUN", str(found[0]) if found else "RUN") for argument in arguments)]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as left:
        if left.code:
            sys.exit(f"{script} {' '.join(arguments)}: status {left.code}")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A copy of the project with the rivals in it."""
    top, source = tmp_path_factory.mktemp("lab"), conf_dir().parent
    for name in ("src", "conf", "scripts"):
        shutil.copytree(source / name, top / name, ignore=shutil.ignore_patterns("__pycache__"))
    for place, into in ((RIVALS / "src", top / "src" / "diffusion_lab"), (RIVALS / "conf", top / "conf")):
        for file in filter(Path.is_file, place.rglob("*")):
            if "__pycache__" in file.parts:
                continue
            there = into / file.relative_to(place)
            assert not there.exists(), f"{there} is no new file"
            shutil.copyfile(file, there)
    return top


def typed(lab, name, *commands):
    """Run the commands, in which RUN is the only run of that name, and return what they said."""
    environment = {**os.environ, "PYTHONPATH": str(lab / "src"), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(lab / "outputs" / name), json.dumps(commands)],
        cwd=lab, env=environment, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "recipe"), [("images", IMAGES), ("words", WORDS)])
def test_rivals_train_resume_sample_and_reproduce(lab, name, recipe):
    told = typed(
        lab,
        name,
        ["scripts/train.py", *recipe, *RUN, f"name={name}", "trainer.max_epochs=2"],
        ["scripts/train.py", "resume=RUN", "trainer.max_epochs=3"],
        ["scripts/sample.py", "run_dir=RUN", "num_samples=12", "sampler.num_steps=3", "trajectory=true"],
        ["scripts/reproduce.py", "run_dir=RUN", f"paths.output_dir={lab}/again"],
    )
    (folder,) = (lab / "outputs" / name).iterdir()
    assert "identical: 9 steps, weights, metrics, samples" in told
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["steps"]) == ("finished", 9)
    metrics = json.loads((folder / "metrics.json").read_text())
    (drawn,) = [path for path in (folder / "samples").iterdir() if path.is_dir()]
    record, samples = json.loads((drawn / "draw.json").read_text()), np.load(drawn / "samples.npy")
    figures = {path.name for path in (folder / "figures").iterdir()}
    if name == "images":
        assert samples.shape == (12, 1, 8, 8)
        assert samples.dtype == np.float32
        assert np.abs(samples).max() <= 1
        assert record["condition"] == [*range(10), 0, 1]
        assert record["evaluations"] == 6  # guidance takes two for each step
        assert metrics["val/squared"] > metrics["val/loss"] > 0
        assert metrics["train/squared_epoch"] > 0
        assert {"samples.png", "denoising.gif", "samples_epoch_0001.png"} <= figures
    else:
        assert samples.shape == (12, 6)
        assert samples.dtype == np.int64
        assert set(samples.flatten().tolist()) <= set(range(4))
        assert record["condition"] is None
        assert record["evaluations"] == 3
        assert 0 <= metrics["train/accuracy_epoch"] <= 1
        assert {"samples.txt", "denoising.txt", "samples_epoch_0001.txt"} <= figures
        assert "Samples after 9 steps" in (folder / "figures" / "samples.txt").read_text()


@pytest.mark.full
def test_every_option_still_composes_with_its_partners(lab):
    """The tests of the options take their lists, and the partners of each option, from the config tree."""
    shutil.copytree(Path(__file__).parent, lab / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(lab / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", "/dev/null",
            "--rootdir", str(lab), "-o", f"pythonpath={lab / 'tests'}",
            "tests/config/test_compose.py", "tests/test_layers.py",
            # Those that list options, and those that build some of the new ones.
            "-k", "misspelled or layer or file_names or square_root or labelled or letters or negative_label",
        ],
        cwd=lab, env=environment, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
