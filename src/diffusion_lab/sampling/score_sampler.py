"""What samplers by scores have in common."""

from __future__ import annotations

from diffusion_lab.parameterizations.log_scores import check_survivors
from diffusion_lab.processes import DiscreteProcess
from diffusion_lab.sampling.base import Sampler
from diffusion_lab.sampling.grids import TimeGrid


class ScoreSampler(Sampler):
    """Steps of the reverse process of tokens by the scores of a prediction.

    Args:
        process: a discrete process.
        grid: the times of the steps.
        num_steps: how many.

    Raises:
        ValueError: if nothing survives at t = 1, where there are no scores.
    """

    def __init__(self, process: DiscreteProcess, grid: TimeGrid, num_steps: int = 64) -> None:
        super().__init__(grid.steps(num_steps))
        check_survivors(process, f"sampler={type(self).__name__}")
        self.process = process
