"""The Huber loss of the raw output, beside its squared error."""

from diffusion_lab.objectives import Objective, squared_error
from diffusion_lab.parameterizations import Regression
from diffusion_lab.processes import Process


class Huber(Objective):
    units = {"loss": "Huber loss", "squared": "mean squared error"}  # noqa: RUF012

    def __init__(self, process: Process, parameterization: Regression, delta: float = 1.0) -> None:
        self.process, self.parameterization, self.delta = process, parameterization, delta

    def __call__(self, denoiser, z0, t, noise, condition=None):
        noised = self.process.sample(z0, t, noise.at("noise"))
        error = squared_error(denoiser.raw(noised.z_t, t, condition), self.parameterization.target(noised))
        huber = 2 * self.delta**2 * ((1 + error / self.delta**2).sqrt() - 1)
        return {"loss": huber.flatten(1).mean(1), "squared": error.flatten(1).mean(1)}
