"""Classes and config files of one's own, in a folder outside the project: they go through every door.

A network, a schedule, and an experiment that chooses them; trained, resumed, sampled, reproduced, swept, searched and
compared, as somebody would who has installed the project and begins in an empty folder.
"""

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest

import diffusion_lab
from doors import typed

pytestmark = pytest.mark.slow

MODULE = """
import os
import torch
from torch import nn
from diffusion_lab.networks import Network
from diffusion_lab.schedules import DiscreteSchedule

class TinyNet(Network):
    def __init__(self, in_channels: int, out_channels: int, image_size: int, width: int = 16) -> None:
        super().__init__()
        numbers = in_channels * image_size**2
        self.inside = nn.Linear(numbers + 1, width)
        self.outside = nn.Linear(width, numbers * out_channels // in_channels)
        self.shape = (out_channels, image_size, image_size)

    def forward(self, x, c_noise, condition=None):
        told = torch.cat([x.flatten(1), c_noise[:, None].to(x.dtype) / 1000], dim=1)
        return self.outside(torch.relu(self.inside(told))).reshape(-1, *self.shape)

class Even(DiscreteSchedule):
    def __init__(self, steps: int = 50, beta: float = 0.1) -> None:
        super().__init__(torch.full((steps,), beta, dtype=torch.float64))
"""

FILES = {
    "mynets.py": MODULE,
    "my/network/tiny_net.yaml": "# One of our own\n_target_: mynets.TinyNet\nwidth: 16\n",
    "my/schedule/even.yaml": "_target_: mynets.Even\nsteps: 50\nbeta: 0.1\n",
    "my/experiment/mine.yaml": """# @package _global_
defaults:
  - override /data: digits
  - override /network: tiny_net
  - override /schedule: even
  - override /trainer: cpu
data:
  image_size: 8
  limit_train: 90
  batch_size: 30
trainer:
  max_epochs: 2
  log_every_n_steps: 1
sampler:
  num_steps: 5
sampling:
  num_samples: 4
name: mine
""",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with nothing but the files above, in which `mine` is trained."""
    folder = tmp_path_factory.mktemp("place")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    said(folder, "train", "--config-dir", "my", "experiment=mine", "seed=5")
    return folder


def ended(folder, script, *arguments, **environment):
    """How a script ended that was typed in the folder."""
    path = os.pathsep.join([str(folder), str(Path(diffusion_lab.__file__).parents[1])])
    variables = {"PYTHONPATH": path, "DIFFUSION_LAB_TRUST": "mynets", "OMP_NUM_THREADS": "1", **environment}
    # A script installed with the package finds its outputs in the folder it is typed in.
    return typed(script, arguments, folder, DIFFUSION_LAB_OUTPUT_DIR=str(folder / "outputs"), **variables)


def said(folder, script, *arguments, **environment):
    """What a script said on stdout that ended well."""
    done = ended(folder, script, *arguments, **environment)
    assert done.status == 0, done.err
    assert "Traceback" not in done.err
    return done.out


def run_of(folder, name="mine"):
    return sorted((folder / "outputs" / name).iterdir())[0]


def test_it_is_drawn_from_resumed_and_reproduced(place):
    run = run_of(place)
    said(place, "sample", f"run_dir={run}", "num_samples=3", "sampler.num_steps=4")
    said(place, "train", f"resume={run}", "trainer.max_epochs=3")
    assert "identical: 9 steps, weights, metrics, samples" in said(
        place, "reproduce", f"run_dir={run}", f"paths.output_dir={place}/again"
    )
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["steps"]) == ("finished", 9)
    assert manifest["options"]["network"] == "tiny_net"


def test_it_is_searched_and_the_best_run_can_be_repeated_as_the_line_says(place):
    told = said(
        place, "search", "search=typed", "experiment=mine", "network.width=8,16", "optimizer.lr=1e-3,1e-2",
        "search.name=widths", "search.n_trials=2", "search.pruner=none", "--config-dir", "my", "trainer.max_epochs=1",
    )  # fmt: skip
    assert "2 of 2 trials have ended" in told
    assert len(list((place / "outputs" / "search" / "widths").glob("2*"))) == 2
    again = next(line for line in told.splitlines() if "  again " in line).split("train.py ")[1]
    said(place, "train", *shlex.split(again), "name=again")


def test_a_misspelled_option_of_one_s_own_is_guessed_at_every_door_that_composes(place):
    for script, value in (("train", "seed=1"), ("search", "optimizer.lr=1e-3,1e-2")):
        done = ended(place, script, "--config-dir", "my", "network=tiny_nett", value)
        assert done.status == 1
        assert "network=tiny_nett: there is no such option; did you mean tiny_net?" in done.err


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("train", ("--config-dir", "my", "experiment=mine")),
        ("train", ("resume=RUN", "trainer.max_epochs=4")),
        ("sample", ("run_dir=RUN",)),
        ("reproduce", ("run_dir=RUN",)),
        ("search", ("search=typed", "--config-dir", "my", "experiment=mine", "optimizer.lr=1e-3,1e-2")),
    ],
)
def test_nothing_of_it_runs_where_it_is_not_trusted_and_the_line_says_how_it_is(place, script, arguments):
    before = {path for path in place.rglob("*") if path.is_dir()}
    run = run_of(place)
    done = ended(place, script, *(text.replace("RUN", str(run)) for text in arguments), DIFFUSION_LAB_TRUST="")
    assert done.status == 1
    line = done.err.strip()
    assert "mynets." in line
    assert "set DIFFUSION_LAB_TRUST=mynets in the environment" in line
    assert "\n" not in line
    assert {path for path in place.rglob("*") if path.is_dir()} == before


def test_other_modules_of_a_folder_are_not_run_with_the_trusted_one(place, tmp_path):
    """A run folder that names a trusted module, and os.system by its name in it."""
    copy = shutil.copytree(run_of(place), tmp_path / "copy")
    config = copy / "config.yaml"
    for name in ("mynets.os.system", "other.TinyNet"):
        config.write_text(config.read_text().replace("mynets.TinyNet", name))
        done = ended(place, "sample", f"run_dir={copy}")
        assert done.status == 1
        assert name in done.err
        config.write_text(config.read_text().replace(name, "mynets.TinyNet"))


def test_a_sweep_says_when_one_s_own_code_has_changed_and_runs_differ_by_it(place):
    sweep = ("--config-dir", "my", "experiment=mine", "-m", "seed=1", "trainer.max_epochs=1", "name=swept")
    runs = place / "outputs" / "swept"
    said(place, "train", *sweep)
    assert "Skipped, though the code has changed" not in said(place, "train", *sweep)
    module = place / "mynets.py"
    module.write_text(MODULE.replace("torch.relu", "torch.tanh"))
    try:
        assert "Skipped, though the code has changed since they ran: 1." in said(place, "train", *sweep)
        said(place, "train", *sweep, "rerun=true")
    finally:
        module.write_text(MODULE)
    before, after = sorted(runs.iterdir())
    compared = ended(place, "reproduce", f"run_dir={before}", f"compare_only={after}")
    assert compared.status == 3
    assert "own code: mynets " in compared.out
    first, second = (json.loads((run / "manifest.json").read_text())["fingerprint"] for run in (before, after))
    assert first["config"] == second["config"]
    assert first["experiment"] != second["experiment"]


def test_runs_of_it_are_compared(place):
    said(place, "train", "--config-dir", "my", "experiment=mine", "schedule=linear", "schedule.steps=50", "seed=5")
    told = said(place, "compare", "outputs/mine", "metric=val/loss", "out=page")
    assert {"even", "linear"} <= set(told.split())
    assert (place / "page" / "comparison.html").is_file()
