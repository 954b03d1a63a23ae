"""`deterministic=true`: what is set while a run goes on, and that nothing of it is left."""

import os

import pytest
import pytorch_lightning as pl
import torch

from diffusion_lab.config.instantiate import make
from diffusion_lab.console import speaking
from diffusion_lab.errors import LabError
from diffusion_lab.machine.deterministic_kernels import kernels_as_configured
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
    """The settings of a new process, but for one that a person may like."""
    monkeypatch.delenv(WORKSPACE, raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)


@pytest.mark.parametrize("key", ["deterministic", "trainer.deterministic"])
def test_a_run_computes_with_it_and_the_next_one_does_not(tiny, key, capsys):
    before, look, after = settings(), Look(), Look()
    folder = train(tiny(f"{key}=true"), [], callbacks=[look])
    assert look.seen == [ON] * 8
    assert settings() == before
    said = capsys.readouterr().out
    assert said.count("deterministic=true: a CPU repeats its bits without it") == 1
    plain = train(tiny(), [], callbacks=[after])
    assert after.seen == [before] * 8
    assert "deterministic" not in capsys.readouterr().out
    weights = [run.read_json("manifest.json")["weights"] for run in (folder, plain)]
    assert weights[0] == weights[1]


def test_a_run_that_fails_leaves_nothing_of_it(tiny):
    before = settings()
    with pytest.raises(LabError, match="not a finite number"):
        train(tiny("deterministic=true", "optimizer.lr=1e30"), [])
    assert settings() == before


def test_a_person_s_own_work_space_stays_if_it_is_fixed(tiny, monkeypatch):
    for own, expected in ((":16:8", ":16:8"), (":0:0", ":4096:8")):
        monkeypatch.setenv(WORKSPACE, own)
        with kernels_as_configured(tiny("deterministic=true").trainer):
            assert settings()["workspace"] == expected
        assert os.environ[WORKSPACE] == own


def test_on_a_gpu_it_says_what_it_costs(tiny, monkeypatch, capsys):
    cfg = tiny("deterministic=true", "trainer.accelerator=auto")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with speaking(make(cfg.console, "console", {})), kernels_as_configured(cfg.trainer):
        assert settings() == ON
    said = capsys.readouterr().out
    assert "steps may take longer" in said
    assert len(said.splitlines()) == 1
