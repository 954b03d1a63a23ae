import pytest
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.runs.checks import check_hardware, warn_of_divergence


@pytest.fixture
def machine(monkeypatch):
    def make(gpus=0, mps=False):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return make


def trainer(accelerator="auto", devices=1, precision="32-true"):
    return {"accelerator": accelerator, "devices": devices, "precision": precision}


@pytest.mark.parametrize(
    ("gpus", "settings", "key", "says"),
    [
        (0, trainer("gpu"), "trainer.accelerator=gpu", "sees no GPU"),
        (0, trainer("cuda"), "trainer.accelerator=cuda", "sees no GPU"),
        (1, trainer("mps"), "trainer.accelerator=mps", "no Apple GPU"),
        (1, trainer("tpu"), "trainer.accelerator=tpu", "choose from auto, cpu, gpu"),
        (1, trainer("gpu", 2), "trainer.devices=2", "has 1 GPU"),
        (1, trainer("auto", 2), "trainer.devices=2", "has 1 GPU"),
        (3, trainer("cuda", 4), "trainer.devices=4", "has 3 GPUs"),
        (0, trainer("cpu", 0), "trainer.devices", "at least 1, or auto for all, got 0"),
        (1, trainer("gpu", -2), "trainer.devices", "at least 1, or auto for all, got -2"),
        (0, trainer("cpu", 1, "16-mixed"), "trainer.precision=16-mixed", "needs a GPU"),
        (0, trainer("auto", 1, "16-true"), "trainer.precision=16-true", "needs a GPU"),
        (0, trainer("auto", 1, 16), "trainer.precision=16", "needs a GPU"),
        (1, trainer("cpu", 1, "16-mixed"), "trainer.precision=16-mixed", "needs a GPU"),
    ],
)
def test_a_trainer_that_this_machine_cannot_run_is_refused_by_key(machine, gpus, settings, key, says):
    machine(gpus)
    with pytest.raises(LabError) as caught:
        check_hardware(settings)
    message = str(caught.value)
    assert message.startswith(key)
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("gpus", "mps", "settings"),
    [
        (0, False, trainer()),
        (0, False, trainer("cpu", 2)),
        (0, False, trainer("auto", 2)),
        (0, False, trainer("cpu", "auto", "bf16-mixed")),
        (1, False, trainer("gpu", 1, "16-mixed")),
        (1, False, trainer("auto", -1, "16-mixed")),
        (2, False, trainer("cuda", 2)),
        (2, False, trainer("cpu", 8)),
        (0, True, trainer("mps")),
        (0, True, trainer("gpu", 1, "16-mixed")),
    ],
)
def test_a_trainer_that_this_machine_can_run_is_not(machine, gpus, mps, settings):
    machine(gpus, mps)
    check_hardware(settings)


def config(schedule="Cosine", variance="beta", clip_x0=False):
    sampler = {"_target_": "x"} if variance is None else {"_target_": "x", "variance": variance}
    return {
        "schedule": {"_target_": f"diffusion_lab.schedules.{schedule}Schedule"},
        "sampler": sampler,
        "sampling": {"clip_x0": clip_x0},
    }


def test_cosine_with_beta_and_no_clipping_is_warned_of_in_one_line(capsys):
    warn_of_divergence(config())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("Warning: schedule=cosine with sampler.variance=beta ")
    assert "sampling.clip_x0=true" in err
    assert "sampler.variance=beta_tilde" in err


@pytest.mark.parametrize(
    "change", [{"schedule": "Linear"}, {"variance": "beta_tilde"}, {"variance": None}, {"clip_x0": True}]
)
def test_what_does_not_diverge_is_not_warned_of(capsys, change):
    warn_of_divergence(config(**change))
    assert capsys.readouterr() == ("", "")
