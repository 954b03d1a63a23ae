"""Evaluations of a run's samples: the config group `evaluation`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffusion_lab import console
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.data import DataModule


def evaluate(settings: TrainConfig, data: DataModule, samples: Tensor) -> dict[str, Any]:
    """Return the results of each evaluation of the samples, by its name.

    Args:
        settings: of the run; its evaluations have names, and `max_train` where some of the training data is enough.
        data: that the samples are compared with; it must be there.
        samples: [N, *D] in the dtype of the data.
    """
    test = data.split("test")
    results = {}
    for name, run in make(settings.evaluation, "evaluation", {}, settings.allowed_targets).items():
        console.current().note(f"evaluation: {name}")
        result = run(samples, data.split("train", getattr(run, "max_train", None)), test)
        results[name] = result.as_dict()
        console.current().event("evaluation", result.summary(), name=name, **results[name])
    return results
