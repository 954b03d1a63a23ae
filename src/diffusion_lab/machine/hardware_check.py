"""Checks of a config against this machine, before anything is built or written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from diffusion_lab import console
from diffusion_lab.errors import LabError, did_you_mean

_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
_STRATEGIES = ("auto", "ddp", "fsdp")

#: See docs/how-to/precision.md. 16-true is left out: in float16, Adam's eps and small gradients become 0.
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")


def check_hardware(trainer: Mapping[str, Any]) -> None:
    """Check that this machine can run a trainer.

    Args:
        trainer: the config node `trainer`.

    Raises:
        LabError: naming the key that does not fit and what to use instead.
    """
    accelerator, devices = trainer.get("accelerator", "auto"), trainer.get("devices", "auto")
    precision, strategy = str(trainer.get("precision", "32-true")), trainer.get("strategy", "auto")
    for key, given, known in (("accelerator", accelerator, _ACCELERATORS), ("strategy", strategy, _STRATEGIES)):
        if given not in known:
            guess = did_you_mean(given, known) or ","
            raise LabError(f"trainer.{key}={given}: there is no such {key}{guess} choose from {', '.join(known)}")
    if isinstance(devices, str) and devices != "auto" and not devices.removeprefix("-").isdecimal():
        raise LabError(f"trainer.devices={devices}: it must be a number, auto for all, or a list of GPU numbers")
    gpus = torch.cuda.device_count()
    mps = torch.backends.mps.is_available()
    if accelerator in ("gpu", "cuda") and not gpus and not (accelerator == "gpu" and mps):
        raise LabError(
            f"trainer.accelerator={accelerator}: PyTorch sees no GPU here; use trainer.accelerator=auto or cpu"
        )
    if accelerator == "mps" and not mps:
        raise LabError("trainer.accelerator=mps: this machine has no Apple GPU; use trainer.accelerator=auto")
    on_gpu = accelerator in ("gpu", "cuda", "auto") and gpus > 0
    if on_gpu and isinstance(devices, int) and devices > gpus:
        raise LabError(f"trainer.devices={devices}: this machine has {gpus} GPU{'s' * (gpus > 1)}")
    if isinstance(devices, int) and devices < 1 and (devices != -1 or not on_gpu):
        raise LabError(f"trainer.devices must be at least 1, or auto for all, got {devices}")
    if strategy == "fsdp" and not on_gpu:
        raise LabError("trainer.strategy=fsdp needs NVIDIA GPUs; several processes on the CPU: trainer=ddp_cpu")
    _check_precision(precision, strategy, on_gpu, mps and accelerator != "cpu")
    every = gpus if on_gpu else 1
    counted = {"auto": every, -1: every}.get(devices, devices) if isinstance(devices, int | str) else len(devices)
    _check_processes(trainer.get("num_nodes", 1), int(counted))


def _check_precision(precision: str, strategy: str, on_gpu: bool, mps: bool) -> None:
    if precision not in _PRECISIONS and f"{precision}-true" not in ("32-true", "64-true"):
        guess = did_you_mean(precision, _PRECISIONS) or ","
        raise LabError(
            f"trainer.precision={precision}: there is no such precision{guess} choose from {', '.join(_PRECISIONS)}"
        )
    if precision.startswith("16") and not on_gpu and not mps:
        raise LabError(f"trainer.precision={precision} needs a GPU; on the CPU use 32-true or bf16-mixed")
    if precision.startswith("64") and (mps or strategy == "fsdp"):
        where = "trainer.strategy=fsdp" if strategy == "fsdp" else "an Apple GPU"
        raise LabError(f"trainer.precision={precision} does not work with {where}; use 32-true")


def _check_processes(nodes: int, here: int) -> None:
    """Check that torchrun or SLURM, if one of them is used, started `here` processes on each of `nodes` machines."""
    started: int | None = None
    if TorchElasticEnvironment.detect():
        launcher, started = "torchrun", int(os.environ["WORLD_SIZE"])
    elif SLURMEnvironment.detect():
        launcher, started = "SLURM", int(os.environ["SLURM_NTASKS"])
    if started is None:
        if nodes > 1:
            raise LabError(
                f"trainer.num_nodes={nodes}: the processes of several machines are started by torchrun or srun, "
                "see docs/how-to/several_processes.md"
            )
    elif started != here * nodes:
        raise LabError(
            f"trainer.devices and trainer.num_nodes make {here} × {nodes} = {here * nodes} processes, and {launcher} "
            f"started {started}: give both the same numbers, see docs/how-to/several_processes.md"
        )


def warn_of_lost_updates(trainer: Mapping[str, Any]) -> None:
    """Warn of weights in bfloat16, whose precision is too low for small updates."""
    if trainer.get("precision") == "bf16-true":
        console.current().warning(
            "trainer.precision=bf16-true keeps the weights in bfloat16, which loses small updates: on the digits, the "
            "final loss is a tenth higher than with bf16-mixed, which keeps the weights in float32"
        )
