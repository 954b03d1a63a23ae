"""The common part of the distributions of training times that come from a normal one."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from diffusion_lab.objectives.time_sampler import TimeSampler
from diffusion_lab.processes import Process


class NormalTimes(TimeSampler):
    """Times that are a monotonic function of x ~ N(mean, std²).

    Args:
        process: any process.
        batch_size, stratified: see `TimeSampler`.
        mean, std: of x.

    Raises:
        ValueError: if `std` is not positive, or a number is not finite.
    """

    def __init__(self, process: Process, batch_size: int, stratified: bool, mean: float, std: float) -> None:
        super().__init__(process, batch_size, stratified)
        if not math.isfinite(mean):
            raise ValueError(f"time_sampling.mean must be finite, got {mean}")
        if not 0 < std < math.inf:
            raise ValueError(f"time_sampling.std must be positive and finite, got {std}")
        self.mean, self.std = mean, std

    def quantile(self, u: Tensor) -> Tensor:
        return self.time(self.mean + self.std * torch.special.ndtri(u))

    @abstractmethod
    def time(self, x: Tensor) -> Tensor:
        """Return the times [B] in [0, 1], rising in x [B], which may be infinite."""
