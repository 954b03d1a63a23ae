"""Uniform times (Ho et al. 2020, algorithm 1)."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.objectives.time_sampler import TimeSampler


class UniformTimes(TimeSampler):
    """t uniform over the grid 1/T, …, T/T of a process of T steps, else over (0, 1]."""

    uniform = True

    def quantile(self, u: Tensor) -> Tensor:
        return u
