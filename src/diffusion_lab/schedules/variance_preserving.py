"""Gaussian schedules that preserve variance, in T steps or in continuous time."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from diffusion_lab.schedules.base import Curve, GaussianSchedule


class SignalDecay(ABC):
    """How alpha² falls from 1 at t = 0, while sigma² = 1 − alpha² rises: a table of T steps, or a closed form.

    Times beyond the ends of [0, 1], and log-SNRs beyond the range, stand for the nearest end. All arguments and results
    are float64 tensors of one shape; `GaussianSchedule` says what each method returns.

    Attributes:
        betas: [T] float64, of a table; None in continuous time.
        alpha_bar: [T + 1] float64, alpha² at the rows of a table; None in continuous time.
    """

    betas: Tensor | None = None
    alpha_bar: Tensor | None = None

    @abstractmethod
    def log_snr(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def d_alpha(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def d_sigma(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor: ...


class VariancePreserving(GaussianSchedule):
    """alpha² + sigma² = 1 at all times.

    Args:
        decay: how alpha² falls.

    Attributes:
        betas, alpha_bar: see `SignalDecay`.
    """

    def __init__(self, decay: SignalDecay) -> None:
        self.decay = decay
        self.betas, self.alpha_bar = decay.betas, decay.alpha_bar
        self.steps = None if decay.betas is None else len(decay.betas)

    @property
    def prior_std(self) -> float:
        """1: the limit of a process that preserves the variance of data with variance 1 (Ho et al. 2020, p(x_T))."""
        return 1.0

    def log_snr(self, t: Tensor) -> Tensor:
        return self.decay.log_snr(t)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sigmoid(self.log_snr(t)).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sigmoid(-self.log_snr(t)).sqrt()

    def d_alpha(self, t: Tensor) -> Tensor:
        return self.decay.d_alpha(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return self.decay.d_sigma(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return self.decay.time(log_snr)

    def curves(self) -> list[Curve]:
        if self.betas is None or self.alpha_bar is None:
            return super().curves()
        index = torch.arange(len(self.betas), dtype=torch.float64)
        return [
            Curve("noise added at each step", "step index t", r"$\beta_t$", index, self.betas),
            Curve("signal that is left", "step index t", r"$\bar\alpha_t$", index, self.alpha_bar[1:]),
        ]
