"""The one sampling loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Prediction
from diffusion_lab.sampling.base import Constraint, DenoiserFn, State, Walk, full_time


@dataclass(frozen=True)
class Step:
    """A step that was taken: `number` (from 0) of `total` led from time t to s, and left z [B, *D].

    Attributes:
        before: [B, *D] the state that it started from.
        prediction: the last one that was made for that step; None where it needed none.
    """

    number: int
    total: int
    t: float
    s: float
    z: Tensor
    before: Tensor
    prediction: Prediction | None = None


@torch.inference_mode()
def draw(
    denoiser: DenoiserFn,
    walk: Walk,
    start: Tensor,
    noise: Noise,
    condition: Tensor | None = None,
    constraint: Constraint | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Tensor:
    """Walk from a state at the first time of a walk to its last: from noise to samples, or from data to noise.

    Args:
        denoiser: (z_t, t, condition) → prediction.
        walk: yields the times and takes the steps; a sampler, to draw samples.
        start: [B, *D] the state at the first time: for a sampler a draw from the process's prior.
        noise: one row for each sample; step n uses its address ``("step", n)``.
        condition: [B, …] what each sample is to be of, such as its label; None without one.
        constraint: what is known of the samples; None without any.
        on_step: is called after each step; an exception it raises ends the draw.

    Returns:
        [B, *D] the state at the last time.
    """
    last: list[Prediction] = []

    def conditioned(z_t: Tensor, t: Tensor) -> Any:
        last[:] = [denoiser(z_t, t, condition)]
        return last[0]

    state = State(start)
    if constraint is not None:
        state = constraint(state, full_time(walk.steps[0][0], noise), noise.at("constraint", "start"))
    for number, (t, s) in enumerate(walk.steps):
        last.clear()  # before the next prediction is made, so that two are never in memory
        before = state.z
        state = walk.take(state, (t, s), conditioned, noise.at("step", number))
        if constraint is not None:
            is_data = s == t or number == len(walk.steps) - 1  # whose noise, if it has some, is no longer wanted
            there = None if is_data else full_time(s, noise)
            state = constraint(state, there, noise.at("constraint", number))
        if on_step is not None:
            on_step(Step(number, len(walk.steps), t, s, state.z, before, last[0] if last else None))
    return state.z
