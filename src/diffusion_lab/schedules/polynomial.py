"""The polynomial schedule: survival falls as a power of the time (Shi et al. 2024, MD4, table 1)."""

from __future__ import annotations

import math

from torch import Tensor

from diffusion_lab.schedules.base import RateSchedule


class PolynomialSchedule(RateSchedule):
    """survival = 1 − (1 − remaining) t^exponent: slow at first with a large exponent, a straight line with 1.

    Args:
        exponent: above 0.
        steps: T, the number of steps; None for continuous time.
        remaining: survival at t = 1, from 0 to below 1.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(self, exponent: float = 2.0, steps: int | None = None, remaining: float = 0.0) -> None:
        super().__init__(steps)
        if not 0 < exponent < math.inf:
            raise ValueError(f"schedule.exponent must be above 0 and finite, got {exponent}")
        if not 0 <= remaining < 1:
            raise ValueError(f"schedule.remaining must be at least 0 and below 1, got {remaining}")
        self.exponent = exponent
        self.remaining = remaining

    def survival(self, t: Tensor) -> Tensor:
        return 1 - self.gone(t)

    def gone(self, t: Tensor) -> Tensor:
        return (1 - self.remaining) * t**self.exponent

    def d_survival(self, t: Tensor) -> Tensor:
        return -(1 - self.remaining) * self.exponent * t ** (self.exponent - 1)

    def time(self, survival: Tensor) -> Tensor:
        return ((1 - survival) / (1 - self.remaining)) ** (1 / self.exponent)
