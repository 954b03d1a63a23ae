"""The two families of schedules: signal and noise of a Gaussian process, and rates of a discrete one.

Time t runs from 0, clean data, to 1, noise. All arguments and results are float64 tensors of one shape, on the device
of t; whoever uses a coefficient casts it to the dtype of the state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

#: A continuous time is told to networks on the scale of a process with so many steps.
_NETWORK_SCALE = 1000


@dataclass(frozen=True)
class Curve:
    """One line of a figure: y over x, both [n], with a title and the labels of the axes."""

    title: str
    x_label: str
    y_label: str
    x: Tensor
    y: Tensor


class Schedule(ABC):
    """A function of time that says how far data has been destroyed.

    Attributes:
        steps: T, if the schedule is defined on the grid n/T; None if time is continuous.
        signal_label: the label of `signal` in a figure.
    """

    steps: int | None = None
    signal_label: str = "signal that is left"

    @abstractmethod
    def signal(self, t: Tensor) -> Tensor:
        """Return the share of the data that is left, from 1 (all) to 0 (none), falling in t."""

    def log_snr(self, t: Tensor) -> Tensor:
        """Return the logit of `signal`, falling in t; it may be +inf at t = 0 and −inf at t = 1."""
        signal = self.signal(t)
        return signal.log() - (1 - signal).log()

    @property
    def ends_clean(self) -> bool:
        """Whether t = 0 is clean data; where it is not, sampling ends with a step from some time to clean data."""
        return float(self.signal(torch.zeros((), dtype=torch.float64))) == 1

    @abstractmethod
    def curves(self) -> list[Curve]:
        """Return the curves that describe the schedule in a figure."""

    def c_noise(self, t: Tensor) -> Tensor:
        """Return the time as networks are told it.

        With T steps that is the index i = t·T − 1 of the literature, which counts from 0 to T − 1 and is fractional
        off the grid; in continuous time it is 1000 t.
        """
        return t.double() * _NETWORK_SCALE if self.steps is None else t.double() * self.steps - 1


class GaussianSchedule(Schedule):
    """Coefficients of z_t = alpha(t) z0 + sigma(t) eps.

    At either end the log-SNR may be infinite: alpha(1) may be 0 and sigma(0) may be 0. A schedule need not reach
    these values: that of EDM ends at a finite sigma on both sides.
    """

    signal_label = r"$\bar\alpha(t)$"

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Return the factor of the data, at least 0."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Return the standard deviation of the noise, at least 0."""

    @abstractmethod
    def d_alpha(self, t: Tensor) -> Tensor:
        """Return the derivative of `alpha` with respect to t; it may be infinite at the ends."""

    @abstractmethod
    def d_sigma(self, t: Tensor) -> Tensor:
        """Return the derivative of `sigma` with respect to t; it may be infinite at the ends."""

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """Return the inverse of `log_snr`. Each schedule says what becomes of values beyond its range."""

    def log_snr(self, t: Tensor) -> Tensor:
        """Return log(alpha(t)² / sigma(t)²), falling in t; it may be +inf at t = 0 and −inf at t = 1."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    @property
    def prior_std(self) -> float:
        """The standard deviation of the prior, from which sampling starts at t = 1: sigma(1)."""
        return float(self.sigma(torch.ones((), dtype=torch.float64)))

    def signal(self, t: Tensor) -> Tensor:
        """Return alpha² / (alpha² + sigma²), which is alpha_bar where variance is preserved."""
        return torch.sigmoid(self.log_snr(t))

    def curves(self) -> list[Curve]:
        t = torch.linspace(0, 1, 501, dtype=torch.float64)
        return [
            Curve("factor of the data", "time t", r"$\alpha(t)$", t, self.alpha(t)),
            Curve("standard deviation of the noise", "time t", r"$\sigma(t)$", t, self.sigma(t)),
        ]


class RateSchedule(Schedule):
    """Rates of a process that destroys discrete data, one position after another.

    `survival` falls from 1 at t = 0; it is the probability that a position has not been destroyed by time t. It may
    start a little below 1, and end above 0.

    Args:
        steps: T, the number of steps; None for continuous time. Off the grid n/T, survival is that of continuous time.

    Raises:
        ValueError: if there is no step.
    """

    signal_label = "share of positions that survive"

    def __init__(self, steps: int | None = None) -> None:
        if steps is not None and steps < 1:
            raise ValueError(f"schedule.steps must be at least 1, or null for continuous time, got {steps}")
        self.steps = steps

    @abstractmethod
    def survival(self, t: Tensor) -> Tensor:
        """Return the probability that a position is still what it was, in [0, 1]."""

    @abstractmethod
    def d_survival(self, t: Tensor) -> Tensor:
        """Return the derivative of `survival` with respect to t, at most 0."""

    @abstractmethod
    def time(self, survival: Tensor) -> Tensor:
        """Return the inverse of `survival`, for values between its last and its first."""

    def gone(self, t: Tensor) -> Tensor:
        """Return 1 − `survival`. Near t = 0 the difference has no digits: schedules give the closed form that has."""
        return 1 - self.survival(t)

    def gone_between(self, s: Tensor, t: Tensor) -> Tensor:
        """Return the probability that a position is destroyed by t if it survived until s < t; 1 if none survives."""
        at_s, at_t = self.survival(s), self.survival(t)
        early = (self.gone(t) - self.gone(s)) / at_s  # has its digits while most survive, and the ratio has them later
        return torch.where(at_s > 0, torch.where(at_t > 0.5, early, 1 - at_t / at_s), 1)

    def rate(self, t: Tensor) -> Tensor:
        """Return the derivative of `total` with respect to t: −d_survival / survival, which may be infinite."""
        return -self.d_survival(t) / self.survival(t)

    def total(self, t: Tensor) -> Tensor:
        """Return the integral of the rate from 0 to t: −log survival(t), +inf where nothing survives."""
        return -self.survival(t).log()

    def signal(self, t: Tensor) -> Tensor:
        """Return `survival`."""
        return self.survival(t)

    @property
    def ends_clean(self) -> bool:
        """Whether nothing is destroyed at t = 0: by `gone`, since `survival` may round 1 to a number beside it."""
        return float(self.gone(torch.zeros((), dtype=torch.float64))) == 0

    def log_snr(self, t: Tensor) -> Tensor:
        """Return the logit of `survival`, which is −log(e^total − 1)."""
        return self.survival(t).log() - self.gone(t).log()

    def curves(self) -> list[Curve]:
        t = torch.linspace(0, 1, 501, dtype=torch.float64)[:-1]
        return [
            Curve("rate of destruction", "time t", "rate", t, self.rate(t)),
            Curve("share of positions that survive", "time t", "survival", t, self.survival(t)),
        ]
