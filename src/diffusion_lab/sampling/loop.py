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


def take_step(sampler: Sampler, state: State, times: tuple[float, float], denoiser: DenoiserFn, noise: Noise) -> State:
    """Return the state after a step of `sampler` between `times` (t, s); with s = t it leads to clean data.

    Args:
        sampler: takes the step, unless it leads to clean data.
        state: at time t.
        times: a pair of the sampler's `steps`.
        denoiser: (z_t, t) → prediction.
        noise: this step's own, one row for each sample.
    """
    t, s = (torch.full((len(state.z),), time, dtype=torch.float64, device=noise.rows.device) for time in times)
    if times[0] == times[1]:
        return State(denoiser(state.z, t).x0)
    return sampler.step(state, t, s, denoiser, noise)


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

    state = State(start)
    for number, (t, s) in enumerate(sampler.steps):
        state = take_step(sampler, state, (t, s), conditioned, noise.at("step", number))
        if on_step is not None:
            on_step(Step(number, len(sampler.steps), t, s, state.z))
    return state.z
