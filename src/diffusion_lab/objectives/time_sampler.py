"""The seam that every distribution of training times fills."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Process


class TimeSampler(ABC):
    """Draws a time for each sample of a batch.

    Most distributions are an aim of their own: they say which times count how much. One that only serves to estimate a
    mean over uniform times with less variance gives each sample a `weight`, and may learn from the losses.

    Args:
        process: its schedule has a number of steps, or none.
        batch_size: of the global batch.
        stratified: spread the times of a batch evenly over the distribution, which lowers the variance of its loss
            (Kingma et al. 2021, VDM, appendix I.1); else they are independent.

    Attributes:
        uniform: whether the weighted mean of any loss is its mean over uniform times.
        learns: whether `update` needs to be called.
    """

    uniform: ClassVar[bool] = False
    learns: ClassVar[bool] = False

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
        return self._times(noise, self.quantile)

    def in_validation(self, noise: Noise) -> Tensor:
        """Return times like those of training, for losses without weights, and always the same for the same noise."""
        return self._times(noise, _identity if self.uniform else self.quantile)

    def weight(self, t: Tensor) -> Tensor:
        """Return the factor [B] float64 of the loss at times t [B] of training: here, 1."""
        return torch.ones_like(t)

    def update(self, t: Tensor, loss: Tensor) -> None:  # noqa: B027 (a sampler need not learn)
        """Learn from a global batch, after each one in training: here, nothing.

        Args:
            t: [B] float64 times of the samples, in the order of their rows: the same in all processes.
            loss: [B] float64, without weights.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """Return what has been learned, by name."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on with what `state_dict` returned. What is loaded may come from anyone.

        Raises:
            ValueError: if it is the state of another sampler.
        """
        if state:
            raise ValueError(f"{type(self).__name__} has no state, and there is one of {', '.join(state)}")

    def _times(self, noise: Noise, quantile: Callable[[Tensor], Tensor]) -> Tensor:
        u = noise.uniform()
        if self.stratified:  # one number for the batch, and its samples at even distances from it
            u = (noise.grouped(self.batch_size).uniform() + noise.rows.double() / self.batch_size) % 1
        if self.steps is None:
            return quantile(1 - u)
        return ((quantile(u) * self.steps).floor() + 1).clamp(max=self.steps) / self.steps


def _identity(u: Tensor) -> Tensor:
    return u
