"""The Gaussian process: z_t = alpha(t) z0 + sigma(t) eps.

Ho et al. 2020, eq. 4 and 6–7, in the form that Kingma et al. 2021 (VDM, appendix A) give for any pair s < t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.schedules import Schedule


def per_sample(coefficient: Tensor, like: Tensor) -> Tensor:
    """[B] coefficients as [B, 1, …, 1] in the dtype and on the device of `like` [B, *D]."""
    return coefficient.to(like.device, like.dtype).reshape(-1, *(1,) * (like.ndim - 1))


@dataclass(frozen=True)
class Normal:
    """A diagonal normal distribution: mean [B, *D], and a standard deviation that broadcasts to it."""

    mean: Tensor
    std: Tensor

    def sample(self, eps: Tensor) -> Tensor:
        """The draw that standard normal `eps` [B, *D] stands for."""
        return self.mean + self.std * eps


@dataclass(frozen=True)
class Noised:
    """A noisy state z_t [B, *D] at times t [B], with the data z0 and the noise eps that made it."""

    z_t: Tensor
    t: Tensor
    z0: Tensor
    eps: Tensor


class Gaussian:
    """Gaussian noising under a schedule, with its exact posterior.

    Args:
        schedule: alpha(t) and sigma(t).
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def sample(self, z0: Tensor, t: Tensor, noise: Noise) -> Noised:
        """Draw z_t given z0 [B, *D] at times t [B] in [0, 1]."""
        eps = noise.normal(z0.shape[1:]).to(z0)
        return self.mix(z0, t, eps)

    def mix(self, z0: Tensor, t: Tensor, eps: Tensor) -> Noised:
        """The state that z0 and eps, both [B, *D], make at times t [B]."""
        alpha, sigma = per_sample(self.schedule.alpha(t), z0), per_sample(self.schedule.sigma(t), z0)
        return Noised(alpha * z0 + sigma * eps, t, z0, eps)

    def prior(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draw z_1 [B, *shape] from the standard normal, the limit of a variance-preserving process."""
        return noise.normal(shape)

    def transition(self, z_s: Tensor, s: Tensor, t: Tensor) -> Normal:
        """q(z_t | z_s) for times s < t [B]: the forward step."""
        ratio = self.schedule.alpha(t) / self.schedule.alpha(s)
        return Normal(per_sample(ratio, z_s) * z_s, per_sample(self.step_variance(t, s).sqrt(), z_s))

    def step_variance(self, t: Tensor, s: Tensor) -> Tensor:
        """The variance that the step from s to t adds; beta_t where s is the row before t. float64 [B].

        σ²_{t|s} = σ_t² − (α_t/α_s)² σ_s² = −σ_t² expm1(λ_t − λ_s) with λ the log-SNR, without cancellation.
        """
        schedule = self.schedule
        return -(schedule.sigma(t) ** 2) * torch.expm1(schedule.log_snr(t) - schedule.log_snr(s))

    def posterior_variance(self, t: Tensor, s: Tensor) -> Tensor:
        """The variance of q(z_s | z_t, z0): β̃ of the papers, 0 at s = 0. float64 [B]."""
        return self.step_variance(t, s) * (self.schedule.sigma(s) / self.schedule.sigma(t)) ** 2

    def posterior(self, z_t: Tensor, x0: Tensor, t: Tensor, s: Tensor) -> Normal:
        """q(z_s | z_t, z0 = x0) for any times 0 <= s < t <= 1 [B] (DDPM eq. 6–7)."""
        schedule = self.schedule
        alpha_s, sigma_s, sigma_t = schedule.alpha(s), schedule.sigma(s), schedule.sigma(t)
        added, kept = self.step_variance(t, s), (sigma_s / sigma_t) ** 2
        of_x0, of_z_t = alpha_s * added / sigma_t**2, schedule.alpha(t) / alpha_s * kept
        mean = per_sample(of_x0, z_t) * x0 + per_sample(of_z_t, z_t) * z_t
        return Normal(mean, per_sample((added * kept).sqrt(), z_t))
