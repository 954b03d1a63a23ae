"""Flow matching (Lipman et al. 2023; Liu et al. 2023): the raw output is the velocity dz/dt of the path."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.parameterizations.base import Regression
from diffusion_lab.parameterizations.gaussian_prediction import GaussianPrediction
from diffusion_lab.processes import Gaussian, GaussianNoised, Noised, per_sample


class Velocity(Regression):
    """The network sees the state as it is, and predicts u = alpha'(t) x0 + sigma'(t) eps.

    For the linear path (schedule=flow) that is eps − x0. With w = alpha sigma' − sigma alpha', the data is
    (sigma' z − sigma u) / w and the noise (alpha u − alpha' z) / w.

    Args:
        process: a Gaussian process whose schedule has finite derivatives at t = 1.

    Raises:
        ValueError: if a derivative is infinite at t = 1.
    """

    process: Gaussian

    def __init__(self, process: Gaussian) -> None:
        super().__init__(process)
        one = torch.ones(1, dtype=torch.float64)
        if not bool((process.schedule.d_alpha(one).isfinite() & process.schedule.d_sigma(one).isfinite()).all()):
            raise ValueError(
                f"parameterization=velocity needs a finite slope at t = 1, and {type(process.schedule).__name__} has "
                "none there: take parameterization=v"
            )

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> GaussianPrediction:
        schedule = self.process.schedule
        alpha, sigma, d_alpha, d_sigma = (
            f(t) for f in (schedule.alpha, schedule.sigma, schedule.d_alpha, schedule.d_sigma)
        )
        wronskian = alpha * d_sigma - sigma * d_alpha
        x0 = per_sample(d_sigma / wronskian, z_t) * z_t - per_sample(sigma / wronskian, z_t) * raw
        return GaussianPrediction.of(self.process, z_t, t, x0, "x0")

    def data_error(self, t: Tensor) -> Tensor:
        schedule = self.process.schedule
        sigma = schedule.sigma(t)
        return (sigma / (schedule.alpha(t) * schedule.d_sigma(t) - sigma * schedule.d_alpha(t))) ** 2

    def target(self, noised: Noised) -> Tensor:
        assert isinstance(noised, GaussianNoised)
        schedule, z0 = self.process.schedule, noised.z0
        of_x0, of_eps = per_sample(schedule.d_alpha(noised.t), z0), per_sample(schedule.d_sigma(noised.t), z0)
        return of_x0 * z0 + of_eps * noised.eps
