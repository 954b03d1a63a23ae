"""Times at which log(sigma/alpha) is normally distributed (Karras et al. 2022, EDM, table 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.objectives.time_sampler import TimeSampler
from diffusion_lab.processes import Gaussian


class LogNormalTimes(TimeSampler):
    """log(sigma/alpha) ~ N(mean, std²); what lies beyond the ends of the schedule is taken at its end.

    Args:
        process: a Gaussian process.
        batch_size, stratified: see `TimeSampler`.
        mean: −1.2 in the paper.
        std: 1.2 in the paper.

    Raises:
        ValueError: if `std` is not positive.
    """

    process: Gaussian

    def __init__(
        self, process: Gaussian, batch_size: int, stratified: bool = False, mean: float = -1.2, std: float = 1.2
    ) -> None:
        super().__init__(process, batch_size, stratified)
        if not std > 0:
            raise ValueError(f"time_sampling.std must be positive, got {std}")
        self.mean, self.std = mean, std

    def quantile(self, u: Tensor) -> Tensor:
        log_ratio = self.mean + self.std * torch.special.ndtri(u)
        return self.process.schedule.time(-2 * log_ratio).clamp(0, 1)
