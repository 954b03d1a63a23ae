"""Data prediction (Salimans & Ho 2022, section 4): the raw output is x0."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.parameterizations.base import Regression
from diffusion_lab.parameterizations.gaussian_prediction import GaussianPrediction
from diffusion_lab.processes import Gaussian, Noised


class X0(Regression):
    """The network sees the state as it is, and predicts the clean data. Any schedule goes with it.

    Args:
        process: a Gaussian process.
    """

    process: Gaussian

    def __init__(self, process: Gaussian) -> None:
        super().__init__(process)

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> GaussianPrediction:
        return GaussianPrediction.of(self.process, z_t, t, raw, "x0")

    def data_error(self, t: Tensor) -> Tensor:
        return torch.ones_like(t, dtype=torch.float64)

    def target(self, noised: Noised) -> Tensor:
        return noised.z0
