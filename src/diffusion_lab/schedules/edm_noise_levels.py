"""The noise levels of EDM (Karras et al. 2022, section 5): variance explodes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_lab.schedules.base import GaussianSchedule


class EDMSchedule(GaussianSchedule):
    """alpha = 1, and log sigma rises linearly with t, in continuous time. Networks are told c_noise = ln(sigma)/4.

    Which noise levels training sees is for the times that the objective draws; here uniform times make log sigma
    uniform. Sampling starts from a standard deviation of `sigma_max` and ends with a step from `sigma_min` to data.

    Args:
        sigma_min: the noise at t = 0, positive.
        sigma_max: the noise at t = 1.

    Raises:
        ValueError: unless 0 < sigma_min < sigma_max.
    """

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        if not 0 < sigma_min < sigma_max < math.inf:
            raise ValueError(
                f"schedule.sigma_min must be above 0 and below schedule.sigma_max, got {sigma_min} and {sigma_max}"
            )
        self._low, self._range = math.log(sigma_min), math.log(sigma_max / sigma_min)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t, dtype=torch.float64)

    def sigma(self, t: Tensor) -> Tensor:
        return (self._low + t.double() * self._range).exp()

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t, dtype=torch.float64)

    def d_sigma(self, t: Tensor) -> Tensor:
        return self.sigma(t) * self._range

    def log_snr(self, t: Tensor) -> Tensor:
        return -2 * (self._low + t.double() * self._range)

    def time(self, log_snr: Tensor) -> Tensor:
        """Return the inverse of `log_snr`; values beyond the range give times outside [0, 1]."""
        return (-log_snr.double() / 2 - self._low) / self._range

    def c_noise(self, t: Tensor) -> Tensor:
        return (self._low + t.double() * self._range) / 4
