"""The hybrid objective of improved DDPM (Nichol & Dhariwal 2021, eq. 16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from diffusion_lab.codecs import Codec
from diffusion_lab.noise import Noise
from diffusion_lab.objectives.base import Objective, squared_error
from diffusion_lab.objectives.variational_bound import bound_term, steps_of
from diffusion_lab.parameterizations import Denoiser, LearnedVariance
from diffusion_lab.processes import Gaussian


class Hybrid(Objective):
    """The squared error of what the mean follows from, plus a little of the bound, which trains the variance alone.

    ``loss`` = ``mse`` + bound_weight · ``vlb``, where ``vlb`` is T times the bound's term in bits per dimension, as in
    the paper's code.

    Args:
        process: a Gaussian process of T steps.
        parameterization: with a learned variance.
        codec: says how probable the data is.
        bound_weight: 0.001 in the paper.

    Raises:
        ValueError: if the process has no steps, or the weight is not positive.
    """

    units: ClassVar[Mapping[str, str]] = {
        "loss": "mean squared error + weighted bound",
        "mse": "mean squared error",
        "vlb": "bits per dimension",
    }
    needs_uniform_times = True

    def __init__(
        self,
        process: Gaussian,
        parameterization: LearnedVariance,
        codec: Codec,
        bound_weight: float = 0.001,
    ) -> None:
        if not bound_weight > 0:
            raise ValueError(f"objective.bound_weight must be positive, got {bound_weight}")
        self.steps = steps_of(process)
        self.process = process
        self.parameterization = parameterization
        self.codec = codec
        self.bound_weight = bound_weight

    def __call__(
        self, denoiser: Denoiser, z0: Tensor, t: Tensor, noise: Noise, condition: Tensor | None = None
    ) -> dict[str, Tensor]:
        noised = self.process.sample(z0, t, noise.at("noise"))
        raw = denoiser.raw(noised.z_t, t, condition)
        mean, variance = raw.chunk(2, dim=1)
        mse = squared_error(mean, self.parameterization.target(noised)).flatten(1).mean(1)
        frozen = self.parameterization.prediction(torch.cat([mean.detach(), variance], dim=1), noised.z_t, t)
        vlb = self.steps * bound_term(self.process, self.codec, z0, t, frozen).float()
        return {"loss": mse + self.bound_weight * vlb, "mse": mse, "vlb": vlb}
