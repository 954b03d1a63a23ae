"""The cosine schedule of discrete processes (Shi et al. 2024, MD4, table 1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_lab.schedules.base import RateSchedule


class SurvivalCosineSchedule(RateSchedule):
    """survival = 1 − cos(π/2 · (1 − t)): it falls fast at first, and ever more slowly towards the end.

    Args:
        steps: T, the number of steps; None for continuous time.

    Raises:
        ValueError: if there is no step.
    """

    def survival(self, t: Tensor) -> Tensor:
        return 2 * torch.sin(math.pi / 4 * (1 - t)).square()  # = 1 − cos(π/2 (1 − t)), with its digits near t = 1

    def gone(self, t: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * t)  # = cos(π/2 (1 − t)), with its digits near t = 0

    def d_survival(self, t: Tensor) -> Tensor:
        return -math.pi / 2 * torch.sin(math.pi / 2 * (1 - t))

    def time(self, survival: Tensor) -> Tensor:
        return 1 - 4 / math.pi * torch.asin((survival / 2).sqrt())
