"""The one sampling loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State


@dataclass(frozen=True)
class Step:
    """A step that was taken: `number` (from 0) of `total` led from time t to s, and left z [B, *D]."""

    number: int
    total: int
    t: float
    s: float
    z: Tensor


@torch.inference_mode()
def draw(
    denoiser: DenoiserFn,
    sampler: Sampler,
    start: Tensor,
    noise: Noise,
    condition: Tensor | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Tensor:
    """Draw samples.

    Args:
        denoiser: (z_t, t, condition) → prediction.
        sampler: yields the times and takes the steps.
        start: [B, *D] the state at t = 1, a draw from the process's prior.
        noise: one row for each sample; step n uses its address ``("step", n)``.
        condition: [B, …] what each sample is to be of, such as its label; None without one.
        on_step: is called after each step; an exception it raises ends the draw.

    Returns:
        [B, *D] the state at the last time.
    """

    def conditioned(z_t: Tensor, t: Tensor) -> Any:
        return denoiser(z_t, t, condition)

    def times(value: float) -> Tensor:
        return torch.full((len(start),), value, dtype=torch.float64, device=noise.rows.device)

    state = State(start)
    for number, (t, s) in enumerate(sampler.steps):
        here, there = (
            torch.full((len(start),), time, dtype=torch.float64, device=noise.rows.device) for time in (t, s)
        )
        if t == s:  # to clean data, from the noise that is left at t = 0
            state = State(conditioned(state.z, here).x0)
        else:
            state = sampler.step(state, here, there, conditioned, noise.at("step", number))
        if on_step is not None:
            on_step(Step(number, len(sampler.steps), t, s, state.z))
    return state.z
