"""What several tests share."""

import copy
import functools
import gc
import importlib
import os
import shutil
import sys

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from matplotlib.figure import Figure

from diffusion_lab.config.settings import SCHEMAS, read_settings
from diffusion_lab.config.targets import TRUST_VARIABLE
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.train import train

#: Classes of the tests themselves, for this process and all that it starts.
os.environ[TRUST_VARIABLE] = "pixel_moments,runs_interrupt.InterruptAt,test_what_a_run_says,witnessed"


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small tensors are faster on one thread, and results do not depend on how many there are."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def what_was_imported():
    """What was imported stays: Python need not look for garbage in it again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def composed_config(*overrides, config_name="train"):
    """Return the composed config of a script."""
    return copy.deepcopy(_composed(config_name, overrides, str(conf_dir())))


@functools.cache
def _composed(config_name, overrides, folder):
    """Many tests begin with the same config, and a copy takes a tenth of the time."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(folder, version_base="1.3"):
        return compose(config_name, list(overrides))


def read_typed(*overrides, config_name="train"):
    """Return the settings that a script reads from its composed config."""
    return read_settings(SCHEMAS[config_name], composed_config(*overrides, config_name=config_name))


@pytest.fixture
def composed():
    """A function from overrides to a composed training config."""
    return composed_config


@pytest.fixture
def settings():
    """A function from overrides to the settings that a script reads from its composed config."""
    return read_typed


#: A run of eight steps over two epochs, in about a second.
TINY = (
    "data=digits",
    "data.image_size=8",
    "data.batch_size=64",
    "data.limit_train=250",
    "network.base_channels=8",
    "network.channel_multipliers=[1]",
    "optimizer.lr=1e-3",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "sampler.num_steps=5",
    "sampling.num_samples=9",
    "callbacks.samples.every_n_epochs=0",
    "name=tiny",
)


#: Makes a recipe of text, which comes before it, as small: eight steps over two epochs.
TINY_TEXT = (
    "data=python_docs", "data.length=16", "data.batch_size=16", "data.limit_train=64", "network.width=16",
    "network.depth=1", "network.heads=2", "trainer=cpu", "trainer.max_epochs=2", "trainer.max_steps=-1",
    "trainer.log_every_n_steps=1", "trainer.check_val_every_n_epoch=1", "trainer.precision=bf16-mixed",
    "lr_schedule.warmup_steps=2", "lr_schedule.decay_steps=8", "sampling.num_samples=2", "evaluation=none", "name=tiny",
)  # fmt: skip


@pytest.fixture
def coarse_figures(monkeypatch):
    """Figures are written without a layout and at a low resolution, which takes a third of the time."""
    save_coarsely(monkeypatch)


def save_coarsely(monkeypatch):
    """Let figures be written without a layout and at a low resolution."""
    savefig = Figure.savefig

    def coarsely(figure, path, **options):
        figure.set_layout_engine("none")
        savefig(figure, path, **options | {"dpi": 20})

    monkeypatch.setattr(Figure, "savefig", coarsely)


@pytest.fixture
def tiny(settings, tmp_path, coarse_figures):
    """A function from overrides to settings that train in about a second, with their outputs in tmp_path."""
    return lambda *overrides: settings(*TINY, f"paths.output_dir={tmp_path}", *overrides)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The folder of a finished run of eight steps, which no test changes."""
    outputs = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        save_coarsely(monkeypatch)
        return train(read_typed(*TINY, f"paths.output_dir={outputs}", "console=quiet"), ["name=tiny"])


@pytest.fixture(name="copy")
def copied(recorded, tmp_path):
    """A copy of the run, which a test may alter."""
    return RunFolder(shutil.copytree(recorded.path, tmp_path / "tiny" / "copy"))


@pytest.fixture
def door(monkeypatch, tmp_path, capsys):
    """A function that types arguments behind scripts/<name>.py, and returns the status and the line on stderr."""

    def typed(*arguments, script="train"):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DIFFUSION_LAB_OUTPUT_DIR", str(tmp_path / "outputs"))
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        with pytest.raises(SystemExit) as left:
            importlib.import_module(f"diffusion_lab.commands.{script}_command").main()
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert "Traceback" not in lines[0]
        return left.value.code, lines[0]

    return typed


class Batches:
    """Yields what it was given; a bare list would be several loaders to the trainer."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


def a_third_quick(cases):
    """Return the cases, of which `make test` tries each third one, and continuous integration all."""
    return [pytest.param(case, marks=() if n % 3 == 0 else pytest.mark.slow) for n, case in enumerate(cases)]
