"""The common part of the solvers of a Gaussian process: their times, and the coefficients there."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling.base import Sampler
from diffusion_lab.sampling.grids import TimeGrid

#: Below this log-SNR a state is taken for pure noise: sigma/alpha is above 1,800 there.
_PURE_NOISE = -15.0


class GaussianSampler(Sampler):
    """A sampler of a Gaussian process at the times of a grid.

    Args:
        process: a Gaussian process.
        grid: the times of the steps.
        num_steps: how many steps.

    Raises:
        ValueError: if the grid has not so many steps.
    """

    def __init__(self, process: Gaussian, grid: TimeGrid, num_steps: int) -> None:
        super().__init__(grid.steps(num_steps))
        self.process = process

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma [B] float64 at times t [B]."""
        return self.process.schedule.alpha(t), self.process.schedule.sigma(t)

    def half_log_snr(self, t: Tensor) -> Tensor:
        """Return lambda = log(alpha/sigma) [B] float64, which may be infinite (Lu et al. 2022)."""
        return self.process.schedule.log_snr(t) / 2

    def has_signal(self, t: Tensor) -> bool:
        """Return whether states at times t [B] hold more than noise.

        Solvers in z/alpha and sigma/alpha, which are infinite or nearly so where there is none, take a step of first
        order from there: an error of such a slope, times such a level, would be left in the samples.
        """
        return bool((self.process.schedule.log_snr(t) > _PURE_NOISE).all())

    def to_data(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors [B] float64 of z and x0 in the step of first order from t to s.

        z_s = sigma_s/sigma_t z + (alpha_s − alpha_t sigma_s/sigma_t) x0, which solves the probability-flow ODE where x0
        does not change (DDIM with eta = 0; Lu et al. 2022, DPM-Solver++, eq. 9). It holds where alpha_t = 0, too.
        """
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.levels(t), self.levels(s)
        ratio = sigma_s / sigma_t
        return ratio, alpha_s - alpha_t * ratio


def where_finite(value: Tensor) -> Tensor:
    """Return `value` with 0 in the place of what is infinite or no number."""
    return torch.where(value.isfinite(), value, torch.zeros_like(value))
