"""The simple objective of DDPM (Ho et al. 2020, eq. 14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.objectives.base import Objective, squared_error
from diffusion_lab.objectives.weight import Weight
from diffusion_lab.parameterizations import Denoiser, Regression
from diffusion_lab.processes import Gaussian, Process


class Simple(Objective):
    """The error of the network's raw output against its target.

    ``loss`` is the mean over the sample's dimensions; without a weight, in the units of the target squared. A weight is
    that of the data's error, times what turns an error of the raw output into one of the data: the weight is converted,
    and never the error, so that no digits cancel.

    Args:
        process: noises the data.
        parameterization: says what the target is.
        weight: of the squared error of the data; None for the raw output's own.
        huber: errors beyond this count linearly: 2·huber·|e| − huber² in the place of e² (Huber 1964); None for no
            limit.

    Raises:
        ValueError: naming the key, if an argument is out of its range, or the weight does not go with the process.
    """

    units: ClassVar[Mapping[str, str]] = {"loss": "mean squared error"}

    def __init__(
        self,
        process: Process,
        parameterization: Regression,
        weight: Weight | None = None,
        huber: float | None = None,
    ) -> None:
        if huber is not None and not huber > 0:
            raise ValueError(f"objective.huber must be positive or null, got {huber}")
        if weight is not None and not isinstance(process, Gaussian):
            raise ValueError(f"weight={type(weight).__name__} needs a Gaussian process: take weight=none")
        self.process = process
        self.parameterization = parameterization
        self.weight = weight
        self.huber = huber

    def __call__(
        self, denoiser: Denoiser, z0: Tensor, t: Tensor, noise: Noise, condition: Tensor | None = None
    ) -> dict[str, Tensor]:
        noised = self.process.sample(z0, t, noise.at("noise"))
        error = squared_error(denoiser.raw(noised.z_t, t, condition), self.parameterization.target(noised))
        if self.huber is not None:
            beyond = error.clamp(min=self.huber**2)  # never 0, where the square root has no derivative
            error = torch.where(error < beyond, error, 2 * self.huber * beyond.sqrt() - self.huber**2)
        loss = error.flatten(1).mean(1)
        if self.weight is not None:
            assert isinstance(self.process, Gaussian)
            weight = self.weight(self.process.schedule.log_snr(t)) * self.parameterization.data_error(t)
            loss = loss * weight.to(loss)
        return {"loss": loss}
