"""Gaussian schedules of T steps that preserve variance, given by their betas."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.schedules.variance_preserving import SignalDecay, VariancePreserving

#: How many arguments of `log_snr` are remembered with their results: as many times as a multistep solver looks at.
_REMEMBERED = 6


class BetaTable(SignalDecay):
    """The decay of T steps, given by their betas (Ho et al. 2020, eq. 2 and 4).

    It lives on the grid n/T, n = 0..T; row n of a table belongs to t = n/T and row 0 is clean data: alpha(0) = 1 and
    sigma(0) = 0. Between rows the log-SNR is interpolated linearly. Where a row's log-SNR is infinite, it cannot be:
    between row 0 and row 1 sigma² is interpolated instead, and before a last row without any signal alpha² is.

    Args:
        betas: [T] float64 with values in (0, 1); the last one may be 1.
        zero_terminal_snr: shift and scale alpha so that alpha(1) = 0 and its first value stays (Lin et al. 2023,
            algorithm 1): no signal is left at t = 1, as in the prior.

    Raises:
        ValueError: if a beta lies outside (0, 1), or alpha cannot be rescaled so.
    """

    def __init__(self, betas: Tensor, zero_terminal_snr: bool) -> None:
        if betas.ndim != 1 or len(betas) == 0:
            raise ValueError(f"betas must be one row of at least one number, got the shape {tuple(betas.shape)}")
        if not bool(((betas[:-1] > 0) & (betas[:-1] < 1)).all() and 0 < betas[-1] <= 1):
            raise ValueError(
                "every beta must lie strictly between 0 and 1 (the last may be 1), "
                f"got {betas.min():.4g} to {betas.max():.4g}"
            )
        betas = betas.double().cpu()
        if zero_terminal_snr:
            betas = _without_last_signal(betas)
        self.betas = betas
        self.steps = len(betas)
        log_alpha_bar = torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-self.betas).cumsum(0)])
        self.alpha_bar = log_alpha_bar.exp()  # [T + 1]
        # log(1 - exp(x)) by way of expm1, which keeps the digits of a small sigma².
        self._log_snr = log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))  # [T + 1], row 0 is +inf
        self._on_device: dict[torch.device, Tensor] = {torch.device("cpu"): self._log_snr}
        self._latest: list[tuple[Tensor, Tensor]] = []

    def log_snr(self, t: Tensor) -> Tensor:
        # A sampling step asks again and again for its times and those before; to interpolate costs more than all else.
        if t.device.type != "cpu":  # the comparison would wait for the device
            return self._interpolated(t)
        inference = torch.is_inference_mode_enabled()  # what was made there cannot be part of a gradient elsewhere
        for times, found in self._latest:
            if found.is_inference() == inference and times.dtype == t.dtype and torch.equal(times, t):
                return found
        found = self._interpolated(t)
        self._latest = [(t.clone(), found), *self._latest[: _REMEMBERED - 1]]
        return found

    def _interpolated(self, t: Tensor) -> Tensor:
        row, fraction, left, right = self._segment(t)
        within = torch.where(torch.isinf(right), _vanishing(left, fraction), left + fraction * (right - left))
        first_variance = fraction * torch.sigmoid(-right)
        first = torch.log1p(-first_variance) - torch.log(first_variance)
        return torch.where(row > 0, within, first)

    def d_alpha(self, t: Tensor) -> Tensor:
        """Return dα/dt; at a row, where the slope changes, that of the step after it (at t = 1, before it)."""
        return self._d_alpha_squared(t) / (2 * torch.sigmoid(self.log_snr(t)).sqrt())

    def d_sigma(self, t: Tensor) -> Tensor:
        """Return dσ/dt as `d_alpha` does dα/dt; it is +inf at t = 0."""
        return -self._d_alpha_squared(t) / (2 * torch.sigmoid(-self.log_snr(t)).sqrt())

    def time(self, log_snr: Tensor) -> Tensor:
        table = self._table(log_snr.device)
        log_snr = log_snr.double()
        row = torch.searchsorted(-table[1:], -log_snr.contiguous()).clamp(max=self.steps - 1)
        left, right = table[row], table[row + 1]
        linear = (log_snr - left) / (right - left)
        vanishing = 1 - torch.sigmoid(log_snr) / torch.sigmoid(left)
        within = torch.where(torch.isinf(right), vanishing, linear).clamp(0, 1)
        first = (torch.sigmoid(-log_snr) / torch.sigmoid(-table[1])).clamp(0, 1)
        return (row + torch.where(row > 0, within, first)) / self.steps

    def _segment(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return, for each time, the row before it, the way from there to the next (0 to 1), and both log-SNRs."""
        table = self._table(t.device)
        position = t.double() * self.steps
        nearest = position.round()
        # A time that was computed as n/T is row n, whatever its last bit says.
        position = torch.where((position - nearest).abs() < 1e-9, nearest, position).clamp(0, self.steps)
        row = position.floor().clamp(max=self.steps - 1)
        return row, position - row, table[row.long()], table[row.long() + 1]

    def _d_alpha_squared(self, t: Tensor) -> Tensor:
        row, fraction, left, right = self._segment(t)
        log_snr = left + fraction * (right - left)
        interpolated = torch.sigmoid(log_snr) * torch.sigmoid(-log_snr) * (right - left)
        within = torch.where(torch.isinf(right), -torch.sigmoid(left), interpolated)
        return torch.where(row > 0, within, -torch.sigmoid(-right)) * self.steps

    def _table(self, device: torch.device) -> Tensor:
        if device not in self._on_device:
            self._on_device[device] = self._log_snr.to(device)
        return self._on_device[device]


class DiscreteSchedule(VariancePreserving):
    """A variance-preserving schedule of T steps, given by its betas.

    Args:
        betas, zero_terminal_snr: see `BetaTable`.

    Raises:
        ValueError: if a beta lies outside (0, 1).
    """

    def __init__(self, betas: Tensor, zero_terminal_snr: bool = False) -> None:
        super().__init__(BetaTable(betas, zero_terminal_snr))


def _without_last_signal(betas: Tensor) -> Tensor:
    alpha = torch.log1p(-betas).cumsum(0).div(2).exp()
    if not alpha[0] > alpha[-1]:
        raise ValueError(
            f"schedule.zero_terminal_snr=true needs a signal that falls after the first step, of {len(betas)} in all: "
            "take more steps or larger betas"
        )
    alpha = alpha - alpha[-1]  # the scale that keeps its first value changes no ratio, and so no other beta
    rescaled = torch.cat([betas[:1], 1 - (alpha[1:] / alpha[:-1]) ** 2])
    if not bool((rescaled > 0).all()):
        raise ValueError("schedule.zero_terminal_snr=true needs signal up to the last step: take smaller betas")
    return rescaled


def _vanishing(left: Tensor, fraction: Tensor) -> Tensor:
    """Return the log-SNR on the way from `left` to no signal at all, with alpha² falling linearly."""
    alpha_squared = (1 - fraction) * torch.sigmoid(left)
    return torch.log(alpha_squared) - torch.log1p(-alpha_squared)
