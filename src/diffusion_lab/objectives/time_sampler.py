"""The seam that every distribution of training times fills."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Process


class TimeSampler(ABC):
    """Draws a time for each sample of a batch.

    Args:
        process: its schedule has a number of steps, or none.
        batch_size: of the global batch.
        stratified: spread the times of a batch evenly over the distribution, which lowers the variance of its loss
            (Kingma et al. 2021, VDM, appendix I.1); else they are independent.
    """

    def __init__(self, process: Process, batch_size: int, stratified: bool = False) -> None:
        self.process = process
        self.steps = process.schedule.steps
        self.batch_size = batch_size
        self.stratified = stratified

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """Return the times [B] float64 in [0, 1] below which a share `u` [B] in [0, 1] of the distribution lies."""

    def __call__(self, noise: Noise) -> Tensor:
        """Return [B] float64 times in [0, 1], one for each row of `noise`; rows 1/T, …, T/T where there are T steps."""
        u = noise.uniform()
        if self.stratified:  # one number for the batch, and its samples at even distances from it
            u = (noise.grouped(self.batch_size).uniform() + noise.rows.double() / self.batch_size) % 1
        if self.steps is None:
            return self.quantile(1 - u)
        return ((self.quantile(u) * self.steps).floor() + 1).clamp(max=self.steps) / self.steps
