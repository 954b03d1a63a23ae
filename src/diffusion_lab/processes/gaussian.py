"""The Gaussian process: z_t = alpha(t) z0 + sigma(t) eps.

Ho et al. 2020, eq. 4 and 6–7, in the form that Kingma et al. 2021 (VDM, appendix A) give for any pair s < t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lab.distributions import Normal
from diffusion_lab.noise import Noise
from diffusion_lab.processes.base import Noised, Process, per_sample
from diffusion_lab.processes.prediction import Prediction
from diffusion_lab.schedules import GaussianSchedule


@dataclass(frozen=True)
class GaussianNoised(Noised):
    """A noisy state, and the noise eps [B, *D] that made it."""

    eps: Tensor


class Gaussian(Process):
    """Gaussian noising under a schedule, with its exact posterior. Variance need not be preserved.

    Args:
        schedule: alpha(t) and sigma(t).
    """

    schedule: GaussianSchedule

    def __init__(self, schedule: GaussianSchedule) -> None:
        self.schedule = schedule

    def sample(self, z0: Tensor, t: Tensor, noise: Noise) -> GaussianNoised:
        return self.mix(z0, t, noise.normal(z0.shape[1:]).to(z0))

    def mix(self, z0: Tensor, t: Tensor, eps: Tensor) -> GaussianNoised:
        """Return the state that z0 and eps, both [B, *D], make at times t [B]."""
        alpha, sigma = per_sample(self.schedule.alpha(t), z0), per_sample(self.schedule.sigma(t), z0)
        return GaussianNoised(alpha * z0 + sigma * eps, t, z0, eps)

    def prior(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draw z_1 [B, *shape] float32 from N(0, prior_std²), with the schedule's `prior_std`."""
        return self.schedule.prior_std * noise.normal(shape)

    def prior_kl(self, z0: Tensor) -> Tensor:
        one = torch.ones((), dtype=torch.float64)
        alpha, sigma, std = float(self.schedule.alpha(one)), float(self.schedule.sigma(one)), self.schedule.prior_std
        dimensions = z0[0].numel()
        spread = dimensions * ((sigma / std) ** 2 - 1 - 2 * math.log(sigma / std))
        return 0.5 * ((alpha / std) ** 2 * z0.double().square().flatten(1).sum(1) + spread)

    def transition(self, z_s: Tensor, s: Tensor, t: Tensor) -> Normal:
        ratio = self.schedule.alpha(t) / self.schedule.alpha(s)
        return Normal(per_sample(ratio, z_s) * z_s, per_sample(self.step_variance(t, s).sqrt(), z_s))

    def step_variance(self, t: Tensor, s: Tensor) -> Tensor:
        """Return the variance that the step from s to t adds; beta_t where s is the row before t. float64 [B].

        σ²_{t|s} = σ_t² − (α_t/α_s)² σ_s² = −σ_t² expm1(λ_t − λ_s) with λ the log-SNR, without cancellation.
        """
        schedule = self.schedule
        return -(schedule.sigma(t) ** 2) * torch.expm1(schedule.log_snr(t) - schedule.log_snr(s))

    def posterior_variance(self, t: Tensor, s: Tensor) -> Tensor:
        """Return the variance of q(z_s | z_t, z0): β̃ of the papers, 0 at s = 0. float64 [B]."""
        return self.step_variance(t, s) * (self.schedule.sigma(s) / self.schedule.sigma(t)) ** 2

    def posterior(self, z_t: Tensor, prediction: Prediction, t: Tensor, s: Tensor) -> Normal:
        """Return q(z_s | z_t, z0 = prediction.x0) for any times 0 <= s < t <= 1 [B] (DDPM eq. 6–7)."""
        schedule = self.schedule
        alpha_s, sigma_s, sigma_t = schedule.alpha(s), schedule.sigma(s), schedule.sigma(t)
        of_x0 = alpha_s * self.step_variance(t, s) / sigma_t**2
        of_z_t = schedule.alpha(t) / alpha_s * (sigma_s / sigma_t) ** 2
        mean = per_sample(of_x0, z_t) * prediction.x0 + per_sample(of_z_t, z_t) * z_t
        return Normal(mean, per_sample(self.posterior_variance(t, s).sqrt(), z_t))
