"""The common steps of samplers of masked diffusion: to draw tokens, and to open masks."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.distributions import Categorical
from diffusion_lab.noise import Noise
from diffusion_lab.processes import Prediction
from diffusion_lab.schedules import RateSchedule


def draw_tokens(prediction: Prediction, noise: Noise) -> Tensor:
    """Return a clean token for each position, [B, *D] int64, drawn in float64.

    Gumbel noise in float32 ends near 16.6, and so draws at a lower temperature than it says (Zheng et al. 2024).
    """
    return Categorical(prediction.x0).sample(noise)


def time_of_share(schedule: RateSchedule, masked: Tensor) -> Tensor:
    """Return the times at which these shares of the positions are masked in the mean, or nearly as many.

    A network that is told the time has seen about as many masks at that time in training: none is before the first of
    T steps, or before t = 0.
    """
    return schedule.time(1 - masked).clamp(0 if schedule.steps is None else 1 / schedule.steps, 1)


def random_masked(masked: Tensor, count: Tensor, noise: Noise) -> Tensor:
    """Return [B, *D] bool: `count` of the masked positions of each sample, at random; all where there are fewer.

    `count` [B] is of a whole sample, and [B, n] of each of n equal parts of it.
    """
    return best(torch.where(masked, noise.uniform(masked.shape[1:]), -torch.inf), count) & masked


def best(score: Tensor, count: Tensor) -> Tensor:
    """Return [B, *D] bool: the `count` positions of each sample with the highest score; the first of equal ones.

    `count` [B] is of a whole sample, and [B, n] of each of n equal parts of it.
    """
    order = score.reshape(count.numel(), -1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return (rank < count.reshape(-1, 1)).view(score.shape)
