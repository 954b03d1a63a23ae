"""Noise prediction (Ho et al. 2020, section 3.2): the raw output is eps."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.parameterizations.base import Regression
from diffusion_lab.parameterizations.gaussian_prediction import GaussianPrediction
from diffusion_lab.processes import Gaussian, GaussianNoised, Noised


class Eps(Regression):
    """The network sees the state as it is, and predicts the noise.

    Args:
        process: a Gaussian process.

    Raises:
        ValueError: if no signal is left at t = 1, where the noise says nothing of the data.
    """

    process: Gaussian
    divides_by_alpha = True

    def __init__(self, process: Gaussian) -> None:
        super().__init__(process)
        if not process.schedule.alpha(torch.ones((), dtype=torch.float64)) > 0:
            raise ValueError(
                "parameterization=eps does not go with a schedule that leaves no signal at t = 1 (alpha(1) = 0): "
                "predicted noise cannot be turned into data there"
            )

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> GaussianPrediction:
        return GaussianPrediction.of(self.process, z_t, t, raw, "eps")

    def data_error(self, t: Tensor) -> Tensor:
        return torch.exp(-self.process.schedule.log_snr(t))

    def target(self, noised: Noised) -> Tensor:
        assert isinstance(noised, GaussianNoised)
        return noised.eps
