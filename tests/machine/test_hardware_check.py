import pytest
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.machine.hardware_check import check_hardware, warn_of_lost_updates


@pytest.fixture
def machine(monkeypatch):
    def make(gpus=0, mps=False):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return make


def trainer(accelerator="auto", devices=1, precision="32-true", **others):
    return {"accelerator": accelerator, "devices": devices, "precision": precision, **others}


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
        (1, trainer("auto", 1, "16-true"), "trainer.precision=16-true", "choose from 32-true, bf16-mixed, 16-mixed"),
        (1, trainer("auto", 1, 16), "trainer.precision=16", "there is no such precision"),
        (1, trainer("auto", 1, "bf16"), "trainer.precision=bf16", "did you mean bf16-true?"),
        (1, trainer("auto", 1, "transformer-engine"), "trainer.precision=transformer-engine", "no such precision"),
        (2, trainer("gpu", 2, "64-true", strategy="fsdp"), "trainer.precision=64-true", "use 32-true"),
        (0, trainer("cpu", 2, strategy="fsdp"), "trainer.strategy=fsdp", "needs NVIDIA GPUs"),
        (2, trainer("cpu", 2, strategy="fsdp"), "trainer.strategy=fsdp", "needs NVIDIA GPUs"),
        (2, trainer("gpu", 2, strategy="ddp_spawn"), "trainer.strategy=ddp_spawn", "choose from auto, ddp, fsdp"),
        (0, trainer("cpu", -1), "trainer.devices", "at least 1, or auto for all, got -1"),
        (0, trainer("cpu", 2, num_nodes=2), "trainer.num_nodes=2", "started by torchrun or srun"),
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
        (0, True, trainer("cpu", 1, "64-true")),
        (0, False, trainer("cpu", 1, "bf16-true")),
        (0, False, trainer("cpu", 1, 32)),
        (2, False, trainer("gpu", "auto", "bf16-mixed", strategy="fsdp")),
    ],
)
def test_a_trainer_that_this_machine_can_run_is_not(machine, gpus, mps, settings):
    machine(gpus, mps)
    given = dict(settings)
    assert check_hardware(settings) is None
    assert settings == given


TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4"}
SRUN = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train"}


@pytest.mark.parametrize(("environment", "launcher"), [(TORCHRUN, "torchrun"), (SRUN, "SLURM")])
def test_as_many_processes_must_be_started_as_the_config_says(machine, monkeypatch, environment, launcher):
    machine(2)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_hardware(trainer("gpu", 2, num_nodes=2))
    check_hardware(trainer("gpu", "auto", num_nodes=2))
    check_hardware(trainer("gpu", [0, 1], num_nodes=2))
    check_hardware(trainer("cpu", 4))
    for settings in (trainer("cpu", 1), trainer("cpu", "auto", num_nodes=2), trainer("gpu", 2, num_nodes=1)):
        with pytest.raises(LabError, match=rf"^trainer\.devices and trainer\.num_nodes .* {launcher} started 4"):
            check_hardware(settings)


def test_weights_in_bfloat16_are_warned_of_in_one_line(capsys):
    warn_of_lost_updates(trainer(precision="bf16-mixed"))
    assert capsys.readouterr() == ("", "")
    warn_of_lost_updates(trainer(precision="bf16-true"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("Warning: trainer.precision=bf16-true ")
    assert "bf16-mixed" in err
