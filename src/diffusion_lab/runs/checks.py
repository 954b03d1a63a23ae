"""What can be said of a config before anything is built or written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from diffusion_lab import console
from diffusion_lab.config.values import did_you_mean
from diffusion_lab.errors import LabError

_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


def check_hardware(trainer: Mapping[str, Any]) -> None:
    """Refuse a trainer that this machine cannot run.

    Raises:
        LabError: naming the key and what would do.
    """
    accelerator, devices = trainer.get("accelerator", "auto"), trainer.get("devices", "auto")
    precision, strategy = str(trainer.get("precision", "32-true")), trainer.get("strategy", "auto")
    for key, given, known in (("accelerator", accelerator, _ACCELERATORS), ("strategy", strategy, _strategies())):
        if given not in known:
            guess = did_you_mean(given, known) or ","
            raise LabError(f"trainer.{key}={given}: there is no such {key}{guess} choose from {', '.join(known)}")
    gpus = torch.cuda.device_count()
    mps = torch.backends.mps.is_available()
    if accelerator in ("gpu", "cuda") and not gpus and not (accelerator == "gpu" and mps):
        raise LabError(
            f"trainer.accelerator={accelerator}: PyTorch sees no GPU here; take trainer.accelerator=auto or cpu"
        )
    if accelerator == "mps" and not mps:
        raise LabError("trainer.accelerator=mps: this machine has no Apple GPU; take trainer.accelerator=auto")
    on_gpu = accelerator in ("gpu", "cuda", "auto") and gpus > 0
    if on_gpu and isinstance(devices, int) and devices > gpus:
        raise LabError(f"trainer.devices={devices}: this machine has {gpus} GPU{'s' * (gpus > 1)}")
    if isinstance(devices, int) and devices < 1 and devices != -1:
        raise LabError(f"trainer.devices must be at least 1, or auto for all, got {devices}")
    if precision.startswith("16") and not on_gpu and not mps:
        raise LabError(f"trainer.precision={precision} needs a GPU; on the CPU take 32-true or bf16-mixed")


def _strategies() -> list[str]:
    from pytorch_lightning.strategies import StrategyRegistry

    return ["auto", *(name for name in StrategyRegistry.available_strategies() if "unused" not in name)]


def warn_of_divergence(cfg: Mapping[str, Any]) -> None:
    """One line about a combination that is allowed, and known to end in the thousands."""
    if (
        "Cosine" in cfg["schedule"]["_target_"]
        and cfg["sampler"].get("variance") == "beta"
        and not cfg["sampling"]["clip_x0"]
    ):
        console.current().warning(
            "schedule=cosine with sampler.variance=beta diverges unless the predicted data is clipped: "
            "take sampling.clip_x0=true or sampler.variance=beta_tilde"
        )
