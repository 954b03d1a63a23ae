"""Schedules in continuous time that preserve variance, given by formulas."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from diffusion_lab.schedules.variance_preserving import SignalDecay

#: Ends of continuous time and of a process with so many steps are alike.
_STEPS = 1000


class ClosedForm(SignalDecay):
    """alpha² as a formula of x in [0, 1], which follows t up to the place where training and sampling end: x = t · end.

    A subclass gives the formula, in forms that keep their digits at both ends. `end` is 1 unless `end_with_signal` sets
    it.
    """

    end = 1.0

    @abstractmethod
    def log_snr_at(self, x: Tensor) -> Tensor:
        """Return the log-SNR, +inf at x = 0 if no noise is there, and −inf at the end if no signal is left there."""

    @abstractmethod
    def slopes_at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return d alpha/dx and d sigma/dx; they may be infinite at the ends."""

    @abstractmethod
    def place(self, log_snr: Tensor) -> Tensor:
        """Return the inverse of `log_snr_at`, for log-SNRs that may be infinite."""

    def end_with_signal(self, max_beta: float) -> None:
        """End where as much signal is left as after the last of 1000 steps whose betas are at most `max_beta`.

        A formula that ends at alpha = 0 cannot be trained to predict noise there. Hoogeboom et al. 2023 (simple
        diffusion, section 3.1) stop short of it in the same way.

        Raises:
            ValueError: if no signal is left one step before the end.
        """
        one = torch.ones((), dtype=torch.float64)
        signal = (1 - max_beta) * torch.sigmoid(self.log_snr_at(one * (1 - 1 / _STEPS)))
        if not 0 < signal < 1:
            raise ValueError(f"the schedule falls too fast: alpha² is {float(signal):.3g} near its end")
        self.end = float(self.place(signal.log() - torch.log1p(-signal)))

    def log_snr(self, t: Tensor) -> Tensor:
        return self.log_snr_at(self._place_of(t))

    def d_alpha(self, t: Tensor) -> Tensor:
        return self.end * self.slopes_at(self._place_of(t))[0]

    def d_sigma(self, t: Tensor) -> Tensor:
        return self.end * self.slopes_at(self._place_of(t))[1]

    def time(self, log_snr: Tensor) -> Tensor:
        return (self.place(log_snr.double()) / self.end).clamp(0, 1)

    def _place_of(self, t: Tensor) -> Tensor:
        return t.double().clamp(0, 1) * self.end
