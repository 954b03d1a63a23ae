"""Times whose logit is normally distributed (Esser et al. 2024, Stable Diffusion 3, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.objectives.normal_times import NormalTimes
from diffusion_lab.processes import Process


class LogitNormalTimes(NormalTimes):
    """log(t/(1 − t)) ~ N(mean, std²): the middle of the path more often than its ends.

    For arguments see `NormalTimes`; a mean above 0 is for more noise.
    """

    def __init__(
        self, process: Process, batch_size: int, stratified: bool = False, mean: float = 0.0, std: float = 1.0
    ) -> None:
        super().__init__(process, batch_size, stratified, mean, std)

    def time(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)
