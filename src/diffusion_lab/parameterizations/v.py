"""v-prediction (Salimans & Ho 2022, section 4 and appendix D): the raw output is v = alpha eps − sigma x0."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.parameterizations.base import Regression
from diffusion_lab.parameterizations.gaussian_prediction import GaussianPrediction
from diffusion_lab.processes import Gaussian, GaussianNoised, Noised, per_sample


class V(Regression):
    """The network sees the state as it is, and predicts v. Any schedule goes with it.

    Args:
        process: a Gaussian process.
    """

    process: Gaussian

    def __init__(self, process: Gaussian) -> None:
        super().__init__(process)

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> GaussianPrediction:
        return GaussianPrediction.of(self.process, z_t, t, raw, "v")

    def data_error(self, t: Tensor) -> Tensor:
        alpha, sigma = self.process.schedule.alpha(t), self.process.schedule.sigma(t)
        return (sigma / (alpha**2 + sigma**2)) ** 2

    def target(self, noised: Noised) -> Tensor:
        assert isinstance(noised, GaussianNoised)
        schedule, z0 = self.process.schedule, noised.z0
        return per_sample(schedule.alpha(noised.t), z0) * noised.eps - per_sample(schedule.sigma(noised.t), z0) * z0
