"""The preconditioning of EDM (Karras et al. 2022, table 1 and appendix B.6)."""

from __future__ import annotations

import math

from torch import Tensor

from diffusion_lab.parameterizations.base import Regression
from diffusion_lab.parameterizations.gaussian_prediction import GaussianPrediction
from diffusion_lab.processes import Gaussian, GaussianNoised, Noised, per_sample


class EDM(Regression):
    """x0 = c_skip z/alpha + c_out raw(c_in z/alpha), with input and target of unit variance at every noise level.

    With r = sigma/alpha and d = sigma_data: c_skip = d²/(r² + d²), c_out = r d/√(r² + d²), c_in = 1/√(r² + d²). The
    paper has alpha = 1; the form used here also holds where alpha = 0. What the network is told of the time is the
    schedule's (ln sigma / 4 for schedule=edm). An unweighted squared error of the raw output is the paper's weight
    λ = 1/c_out² on that of the data.

    Args:
        process: a Gaussian process.
        sigma_data: the standard deviation of the data: 0.5 in the paper; about 0.62 for MNIST in [−1, 1].

    Raises:
        ValueError: if `sigma_data` is not positive.
    """

    process: Gaussian

    def __init__(self, process: Gaussian, sigma_data: float = 0.5) -> None:
        super().__init__(process)
        if not 0 < sigma_data < math.inf:
            raise ValueError(f"parameterization.sigma_data must be positive and finite, got {sigma_data}")
        self.sigma_data = sigma_data

    def network_input(self, z_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        _, c_noise = super().network_input(z_t, t)
        return z_t / per_sample(self._scale(t), z_t), c_noise

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> GaussianPrediction:
        schedule, scale = self.process.schedule, self._scale(t)
        of_z = self.sigma_data**2 * schedule.alpha(t) / scale**2
        of_raw = self.sigma_data * schedule.sigma(t) / scale
        x0 = per_sample(of_z, z_t) * z_t + per_sample(of_raw, z_t) * raw
        return GaussianPrediction.of(self.process, z_t, t, x0, "x0")

    def data_error(self, t: Tensor) -> Tensor:
        return (self.sigma_data * self.process.schedule.sigma(t) / self._scale(t)) ** 2

    def target(self, noised: Noised) -> Tensor:
        assert isinstance(noised, GaussianNoised)
        schedule, scale, z0 = self.process.schedule, self._scale(noised.t), noised.z0
        # (x0 − c_skip z/alpha) / c_out, without the cancellation where there is little noise
        of_x0 = schedule.sigma(noised.t) / (self.sigma_data * scale)
        of_eps = self.sigma_data * schedule.alpha(noised.t) / scale
        return per_sample(of_x0, z0) * z0 - per_sample(of_eps, z0) * noised.eps

    def _scale(self, t: Tensor) -> Tensor:
        """Return the standard deviation of a state, √(sigma² + alpha² sigma_data²) [B] float64."""
        schedule = self.process.schedule
        return (schedule.sigma(t) ** 2 + (schedule.alpha(t) * self.sigma_data) ** 2).sqrt()
