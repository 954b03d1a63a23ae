"""The Huber loss of the raw output, beside its squared error."""

from diffusion_lab.objectives import Objective, TimeSampler, squared_error
from diffusion_lab.parameterizations import Regression
from diffusion_lab.processes import Process


class Huber(Objective):
    units = {"loss": "Huber loss", "squared": "mean squared error"}  # noqa: RUF012

    def __init__(
        self, process: Process, parameterization: Regression, time_sampling: TimeSampler, delta: float = 1.0
    ) -> None:
        self.process, self.parameterization = process, parameterization
        self.time_sampling, self.delta = time_sampling, delta

    def __call__(self, denoiser, z0, noise, condition=None):
        t = self.time_sampling(noise.at("time"))
        noised = self.process.sample(z0, t, noise.at("noise"))
        error = squared_error(denoiser.raw(noised.z_t, t, condition), self.parameterization.target(noised))
        huber = 2 * self.delta**2 * ((1 + error / self.delta**2).sqrt() - 1)
        return {"loss": huber.flatten(1).mean(1), "t": t, "squared": error.flatten(1).mean(1)}
