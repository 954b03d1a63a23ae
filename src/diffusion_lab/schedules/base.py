"""Gaussian schedules: z_t = alpha(t) x0 + sigma(t) eps, with t in [0, 1], 0 clean and 1 noise.

Coefficients are float64, on the device of t; whoever uses them casts them to the state's dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Schedule(ABC):
    """What every Gaussian schedule answers. All arguments and results are float64 tensors of one shape."""

    @abstractmethod
    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha(t)² / sigma(t)²), falling in t; may be +inf at t = 0."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """The factor of the data, in [0, 1] where variance is preserved."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """The standard deviation of the noise."""

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """The inverse of `log_snr`; beyond its range, the nearest end."""


class DiscreteSchedule(Schedule):
    """A variance-preserving schedule of T steps, given by its betas (Ho et al. 2020, eq. 2 and 4).

    It lives on the grid n/T, n = 0..T; row n of a table belongs to t = n/T and row 0 is clean data.
    Between rows the log-SNR is interpolated linearly; between row 0, where it is infinite, and row 1, it
    is sigma² that is.

    Args:
        betas: [T] float64 with values in (0, 1).

    Raises:
        ValueError: if a beta lies outside (0, 1).
    """

    def __init__(self, betas: Tensor) -> None:
        if betas.ndim != 1 or len(betas) == 0:
            raise ValueError(f"betas must be one row of at least one number, got the shape {tuple(betas.shape)}")
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError(
                f"every beta must lie strictly between 0 and 1, got {betas.min():.4g} to {betas.max():.4g}"
            )
        self.betas = betas.double().cpu()
        log_alpha_bar = torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-self.betas).cumsum(0)])
        self.alpha_bar = log_alpha_bar.exp()  # [T + 1]
        # log(1 - exp(x)) by way of expm1, which keeps the digits of a small sigma².
        self._log_snr = log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))  # [T + 1], row 0 is +inf
        self._on_device: dict[torch.device, Tensor] = {torch.device("cpu"): self._log_snr}

    @property
    def steps(self) -> int:
        """T, the number of steps."""
        return len(self.betas)

    def index(self, t: Tensor) -> Tensor:
        """The step index i = t·T − 1 that the literature counts from 0 to T − 1; fractional off the grid."""
        return t * self.steps - 1

    def log_snr(self, t: Tensor) -> Tensor:
        table = self._table(t.device)
        position = t.double() * self.steps
        nearest = position.round()
        # A time that was computed as n/T is row n, whatever its last bit says.
        position = torch.where((position - nearest).abs() < 1e-9, nearest, position).clamp(0, self.steps)
        row = position.floor().clamp(max=self.steps - 1)
        fraction = position - row
        left, right = table[row.long()], table[row.long() + 1]
        within = torch.where(row > 0, left + fraction * (right - left), 0.0)
        first_variance = fraction * torch.sigmoid(-table[1])
        first = torch.log1p(-first_variance) - torch.log(first_variance)
        return torch.where(row > 0, within, first)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sigmoid(self.log_snr(t)).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sigmoid(-self.log_snr(t)).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        table = self._table(log_snr.device)
        log_snr = log_snr.double()
        row = (torch.searchsorted(-table[1:].contiguous(), -log_snr.contiguous(), right=True)).clamp(max=self.steps - 1)
        left, right = table[row], table[row + 1]
        within = ((log_snr - left) / (right - left)).clamp(0, 1)
        first = (torch.sigmoid(-log_snr) / torch.sigmoid(-table[1])).clamp(0, 1)
        return (row + torch.where(row > 0, within, first)) / self.steps

    def _table(self, device: torch.device) -> Tensor:
        if device not in self._on_device:
            self._on_device[device] = self._log_snr.to(device)
        return self._on_device[device]


def of_steps(schedule: Schedule, key: str) -> DiscreteSchedule:
    """`schedule`, for what needs one of T steps.

    Raises:
        ValueError: naming the `key` that needs it, if it has no steps.
    """
    if not isinstance(schedule, DiscreteSchedule):
        raise ValueError(f"{key} needs a schedule of T steps")
    return schedule
