"""Velocity prediction (Salimans & Ho 2022): v = alpha eps − sigma x0."""

from diffusion_lab.parameterizations import GaussianPrediction, Regression
from diffusion_lab.processes import Gaussian, per_sample


class V(Regression):
    def __init__(self, process: Gaussian) -> None:
        super().__init__(process)

    def prediction(self, raw, z_t, t):
        return GaussianPrediction.of(self.process, z_t, t, raw, "v")

    def target(self, noised):
        schedule = self.process.schedule
        alpha, sigma = (per_sample(of(noised.t), noised.z0) for of in (schedule.alpha, schedule.sigma))
        return alpha * noised.eps - sigma * noised.z0
