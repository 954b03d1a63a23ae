"""The one sampling loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State


@dataclass(frozen=True)
class Step:
    """What has just happened: step `number` (from 0) of `total` led from time t to s, and left z [B, *D]."""

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
    on_step: Callable[[Step], None] | None = None,
) -> Tensor:
    """Draw samples.

    Args:
        denoiser: (z_t, t, condition) → prediction.
        sampler: yields the times and takes the steps.
        start: [B, *D] the state at t = 1, a draw from the process's prior.
        noise: one row per sample; step n uses its address ``("step", n)``.
        on_step: told of each step; an exception it raises ends the draw.

    Returns:
        [B, *D] the state at the last time.
    """
    state = State(start, torch.ones(len(start), dtype=torch.float64, device=noise.rows.device))
    for number, (t, s) in enumerate(sampler.steps()):
        times = torch.full_like(state.t, t), torch.full_like(state.t, s)
        state = sampler.step(state, *times, denoiser, noise.at("step", number))
        if on_step is not None:
            on_step(Step(number, len(sampler), t, s, state.z))
    return state.z
