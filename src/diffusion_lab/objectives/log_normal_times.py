"""Times at which log(sigma/alpha) is normally distributed (Karras et al. 2022, EDM, table 1)."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.objectives.normal_times import NormalTimes
from diffusion_lab.processes import Gaussian


class LogNormalTimes(NormalTimes):
    """log(sigma/alpha) ~ N(mean, std²); what lies beyond the ends of the schedule is taken at its end.

    For arguments see `NormalTimes`; in the paper the mean is −1.2 and std 1.2.
    """

    process: Gaussian

    def __init__(
        self, process: Gaussian, batch_size: int, stratified: bool = False, mean: float = -1.2, std: float = 1.2
    ) -> None:
        super().__init__(process, batch_size, stratified, mean, std)

    def time(self, x: Tensor) -> Tensor:
        return self.process.schedule.time(-2 * x).clamp(0, 1)
