"""Times whose logit is normally distributed (Esser et al. 2024, Stable Diffusion 3, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.objectives.time_sampler import TimeSampler
from diffusion_lab.processes import Process


class LogitNormalTimes(TimeSampler):
    """log(t/(1 − t)) ~ N(mean, std²): the middle of the path more often than its ends.

    Args:
        process: any process.
        batch_size, stratified: see `TimeSampler`.
        mean: above 0 for more noise.
        std: how wide.

    Raises:
        ValueError: if `std` is not positive.
    """

    def __init__(
        self, process: Process, batch_size: int, stratified: bool = False, mean: float = 0.0, std: float = 1.0
    ) -> None:
        super().__init__(process, batch_size, stratified)
        if not std > 0:
            raise ValueError(f"time_sampling.std must be positive, got {std}")
        self.mean, self.std = mean, std

    def quantile(self, u: Tensor) -> Tensor:
        return torch.sigmoid(self.mean + self.std * torch.special.ndtri(u))
