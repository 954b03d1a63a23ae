"""The schedule of data that is noisy itself, seen from the data without that noise."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.schedules.base import GaussianSchedule


class NoisyData(GaussianSchedule):
    """alpha as it is, and sigma'² = sigma² + alpha² noise²: of states alpha x0 + sigma eps with x0 ~ N(mean, noise²).

    Seen from the mean, they are states of a Gaussian process that starts with the noise of x0 (Kingma et al. 2021, VDM:
    any such process follows from its signal-to-noise ratio).

    Args:
        schedule: of the process that x0 goes through.
        noise: the standard deviation of x0, 0 or more.
    """

    def __init__(self, schedule: GaussianSchedule, noise: float) -> None:
        self.schedule = schedule
        self.noise = noise
        self.steps = schedule.steps

    @property
    def prior_std(self) -> float:
        """That of the schedule."""
        return self.schedule.prior_std

    def alpha(self, t: Tensor) -> Tensor:
        return self.schedule.alpha(t)

    def sigma(self, t: Tensor) -> Tensor:
        return (self.schedule.sigma(t) ** 2 + (self.schedule.alpha(t) * self.noise) ** 2).sqrt()

    def d_alpha(self, t: Tensor) -> Tensor:
        return self.schedule.d_alpha(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        schedule = self.schedule
        of_data = self.noise**2 * schedule.alpha(t) * schedule.d_alpha(t)
        return (schedule.sigma(t) * schedule.d_sigma(t) + of_data) / self.sigma(t)

    def time(self, log_snr: Tensor) -> Tensor:
        """Return the inverse of `log_snr`; SNRs above 1/noise², which no state has, stand for the first time."""
        variance = ((-log_snr).exp() - self.noise**2).clamp(min=0)
        return self.schedule.time(-variance.log())
