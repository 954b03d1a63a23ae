"""The times at which training looks."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Process


class TimeSampler(ABC):
    """Draws a time for each sample of a batch."""

    @abstractmethod
    def __call__(self, noise: Noise) -> Tensor:
        """Return [B] float64 times in [0, 1], one for each row of `noise`."""


class UniformTimes(TimeSampler):
    """t uniform over the grid 1/T, …, T/T of a process of T steps (Ho et al. 2020, algorithm 1), else over (0, 1].

    Args:
        process: its schedule has a number of steps, or none.
    """

    def __init__(self, process: Process) -> None:
        self.steps = process.schedule.steps

    def __call__(self, noise: Noise) -> Tensor:
        if self.steps is None:
            return 1 - noise.uniform()
        return ((noise.uniform() * self.steps).floor() + 1) / self.steps
