"""The simple objective of DDPM (Ho et al. 2020, eq. 14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.objectives.base import Objective, squared_error
from diffusion_lab.objectives.time_sampling import TimeSampler
from diffusion_lab.parameterizations import Denoiser, Regression
from diffusion_lab.processes import Process


class Simple(Objective):
    """The squared error of the network's raw output against its target, unweighted.

    ``loss`` is the mean over the sample's dimensions, in the units of the target squared.

    Args:
        process: noises the data.
        parameterization: says what the target is.
        times: draws the times.
    """

    units: ClassVar[Mapping[str, str]] = {"loss": "mean squared error"}

    def __init__(self, process: Process, parameterization: Regression, times: TimeSampler) -> None:
        self.process = process
        self.parameterization = parameterization
        self.times = times

    def __call__(
        self, denoiser: Denoiser, z0: Tensor, noise: Noise, condition: Tensor | None = None
    ) -> dict[str, Tensor]:
        t = self.times(noise.at("time"))
        noised = self.process.sample(z0, t, noise.at("noise"))
        error = squared_error(denoiser.raw(noised.z_t, t, condition), self.parameterization.target(noised))
        return {"loss": error.flatten(1).mean(1), "t": t}
