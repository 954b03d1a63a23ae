"""Evaluations of a run's samples: the config group `evaluation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from diffusion_lab import console
from diffusion_lab.config.instantiate import make
from diffusion_lab.data import DataModule


def evaluate(evaluation: Mapping[str, Any], data: DataModule, samples: Tensor) -> dict[str, Any]:
    """Return the results of each evaluation of the samples, by its name.

    Args:
        evaluation: the config node, with one evaluation a name.
        data: that the samples are compared with; it must be there.
        samples: [N, *D] in the dtype of the data.
    """
    train, test = data.split("train"), data.split("test")
    results = {}
    for name, run in make(evaluation, "evaluation", {}).items():
        console.current().note(f"evaluation: {name}")
        result = run(samples, train, test)
        results[name] = result.as_dict()
        console.current().event("evaluation", result.summary(), name=name, **results[name])
    return results
