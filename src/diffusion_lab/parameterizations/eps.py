"""Noise prediction (Ho et al. 2020, section 3.2): the raw output is eps."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.parameterizations.base import EpsPrediction, Parameterization, Prediction
from diffusion_lab.processes import Gaussian, Noised
from diffusion_lab.processes.gaussian import per_sample
from diffusion_lab.schedules import of_steps


class Eps(Parameterization):
    """The network sees the state as it is and the step index i = t·T − 1, and predicts the noise.

    Args:
        process: a Gaussian process on a schedule of T steps.

    Raises:
        ValueError: if the schedule has no steps to count.
    """

    def __init__(self, process: Gaussian) -> None:
        self.schedule = of_steps(process.schedule, "parameterization=eps")

    def network_input(self, z_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return z_t, self.schedule.index(t).to(z_t.device, torch.float32)

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return EpsPrediction(z_t, per_sample(alpha, z_t), per_sample(sigma, z_t), raw)

    def target(self, noised: Noised) -> Tensor:
        return noised.eps
