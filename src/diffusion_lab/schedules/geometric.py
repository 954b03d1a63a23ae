"""The geometric schedule: the total rate grows by the same factor in equal times (Lou et al. 2024, SEDD)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_lab.schedules.base import RateSchedule


class GeometricSchedule(RateSchedule):
    """total = low^(1 − t) · high^t, and survival = exp(−total): a little below 1 at t = 0, and above 0 at t = 1.

    Args:
        low, high: the total at t = 0 and at t = 1.
        steps: T, the number of steps; None for continuous time.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(self, low: float = 1e-4, high: float = 20.0, steps: int | None = None) -> None:
        super().__init__(steps)
        if not 0 < low < high < math.inf:
            raise ValueError(f"0 < schedule.low < schedule.high are needed, got {low} and {high}")
        self.low, self.high = low, high

    def survival(self, t: Tensor) -> Tensor:
        return (-self.total(t)).exp()

    def gone(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self.total(t))

    def d_survival(self, t: Tensor) -> Tensor:
        return -self.rate(t) * self.survival(t)

    def total(self, t: Tensor) -> Tensor:
        return self.low * torch.exp(t * math.log(self.high / self.low))

    def rate(self, t: Tensor) -> Tensor:
        return math.log(self.high / self.low) * self.total(t)

    def time(self, survival: Tensor) -> Tensor:
        return (-survival.log() / self.low).log() / math.log(self.high / self.low)
