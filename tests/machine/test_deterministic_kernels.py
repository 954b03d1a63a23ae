"""`deterministic=true`: its settings during a run, and that they are restored afterwards."""

import os

import pytest
import pytorch_lightning as pl
import torch

from diffusion_lab import console
from diffusion_lab.config.instantiate import make
from diffusion_lab.errors import LabError
from diffusion_lab.machine.deterministic_kernels import deterministic_kernels
from diffusion_lab.runs.train import train

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def settings():
    return {
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "only a warning": torch.is_deterministic_algorithms_warn_only_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "workspace": os.environ.get(WORKSPACE),
    }


ON = {"algorithms": True, "only a warning": False, "benchmark": False, "fill": False, "workspace": ":4096:8"}


class Look(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, *_):
        self.seen.append(settings())


@pytest.fixture(autouse=True)
def usual(monkeypatch):
    """The settings of a new process, except one that a user may have changed."""
    monkeypatch.delenv(WORKSPACE, raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["deterministic", "trainer.deterministic"])
def test_a_run_uses_deterministic_kernels_and_the_next_one_does_not(tiny, key, capsys):
    before, look, after = settings(), Look(), Look()
    folder = train(tiny(f"{key}=true"), [], callbacks=[look])
    assert look.seen == [ON] * 8
    assert settings() == before
    said = capsys.readouterr().out
    assert said.count("deterministic=true: on a CPU, results are identical without it") == 1
    plain = train(tiny(), [], callbacks=[after])
    assert after.seen == [before] * 8
    assert "deterministic=true" not in capsys.readouterr().out
    weights = [run.read_json("manifest.json")["weights"] for run in (folder, plain)]
    assert weights[0] == weights[1]


def test_a_run_that_fails_restores_the_settings(tiny):
    before = settings()
    with pytest.raises(LabError, match="not a finite number"):
        train(tiny("deterministic=true", "optimizer.lr=1e30"), [])
    assert settings() == before


def test_a_workspace_of_fixed_size_that_the_user_set_is_kept(monkeypatch):
    for own, expected in ((":16:8", ":16:8"), (":0:0", ":4096:8")):
        monkeypatch.setenv(WORKSPACE, own)
        with deterministic_kernels(True, "cpu"):
            assert os.environ[WORKSPACE] == expected
        assert os.environ[WORKSPACE] == own


def test_on_a_gpu_the_cost_is_reported(tiny, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with console.use(make(tiny().console, "console", {})), deterministic_kernels(True, "auto"):
        assert settings() == ON
    said = capsys.readouterr().out
    assert "steps may take longer" in said
    assert len(said.splitlines()) == 1
