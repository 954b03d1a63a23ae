"""The confidence of a network in what stands in a state after a step."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.processes import Process, TokenPrediction
from diffusion_lab.sampling.base import Constraint, Walk
from diffusion_lab.sampling.loop import Step


def step_confidence(process: Process, walk: Walk, step: Step, constraint: Constraint | None) -> Tensor | None:
    """Return `Process.confidence` [B, *D] after a step, NaN where it predicted nothing and at what is given.

    None for states that are numbers, and for steps that needed no prediction.
    """
    found = _predicted(process, walk, step)
    if found is None or constraint is None or constraint.given is None:
        return found
    return found.masked_fill(constraint.given.to(found.device), torch.nan)


def _predicted(process: Process, walk: Walk, step: Step) -> Tensor | None:
    if step.prediction is None:
        return None
    here, prediction = walk.drawn((step.t, step.s)), step.prediction
    if here == slice(None):
        return process.confidence(prediction, step.before, step.z)
    assert isinstance(prediction, TokenPrediction)
    before, after = step.before[:, here], step.z[:, here]
    found = process.confidence(prediction.last(after.shape[1]), before, after)
    if found is None:
        return None
    whole = torch.full(step.z.shape, torch.nan, dtype=found.dtype, device=found.device)
    whole[:, here] = found
    return whole
