"""Where on the time axis training looks."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import of_steps


class GridTimes:
    """t uniform over the grid 1/T, …, T/T of the process (Ho et al. 2020, algorithm 1).

    Args:
        process: a Gaussian process on a schedule of T steps.

    Raises:
        ValueError: if the schedule has no grid.
    """

    def __init__(self, process: Gaussian) -> None:
        self.steps = of_steps(process.schedule, "objective.times=GridTimes").steps

    def __call__(self, noise: Noise) -> Tensor:
        """[B] float64, one time for each row of `noise`."""
        return ((noise.uniform() * self.steps).floor() + 1) / self.steps
