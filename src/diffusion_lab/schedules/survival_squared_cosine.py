"""The squared cosine of discrete processes (Hoogeboom et al. 2021; D3PM's schedule of random tokens)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_lab.schedules.base import RateSchedule


class SurvivalSquaredCosineSchedule(RateSchedule):
    """survival = cos²(π/2 · t): slow at both ends (Hoogeboom et al. 2021, eq. 20, with s = 0).

    Args:
        steps: T, the number of steps; None for continuous time.

    Raises:
        ValueError: if there is no step.
    """

    def survival(self, t: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * (1 - t)).square()  # = cos²(π/2 t), with its digits near t = 1

    def gone(self, t: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * t).square()

    def d_survival(self, t: Tensor) -> Tensor:
        # = −π sin(π/2 t) cos(π/2 t), with its digits at both ends
        return -math.pi * torch.sin(math.pi / 2 * t) * torch.sin(math.pi / 2 * (1 - t))

    def time(self, survival: Tensor) -> Tensor:
        return 2 / math.pi * torch.acos(survival.sqrt())
