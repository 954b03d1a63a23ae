"""The log-linear schedule: survival falls in a straight line (Lou et al. 2024, SEDD; Sahoo et al. 2024, MDLM)."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.schedules.polynomial import PolynomialSchedule


class LogLinearSchedule(PolynomialSchedule):
    """survival = 1 − (1 − remaining) t, so that total = −log(1 − (1 − remaining) t), after which it is named.

    Args:
        steps: T, the number of steps; None for continuous time.
        remaining: survival at t = 1: 0, or a little more, with which the rate stays finite (SEDD: 0.001).

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(self, steps: int | None = None, remaining: float = 0.0) -> None:
        super().__init__(1.0, steps, remaining)

    def time(self, survival: Tensor) -> Tensor:
        return (1 - survival) / (1 - self.remaining)
