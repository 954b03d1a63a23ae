"""Even steps in the log-SNR (Lu et al. 2022, DPM-Solver, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_lab.sampling.grids.base import TimeGrid
from diffusion_lab.schedules import GaussianSchedule


class UniformLogSNR(TimeGrid):
    """Times whose log-SNR is evenly spaced from t = 1 on; from the last of them, a step leads to clean data.

    Where the log-SNR is infinite at t = 0, the spacing ends one row (1/T, or 1/1000 in continuous time) before. Where
    it is infinite at t = 1, the first step leads from there to the row before, and the spacing begins there.

    Args:
        schedule: a Gaussian one.
    """

    schedule: GaussianSchedule

    def __init__(self, schedule: GaussianSchedule) -> None:
        super().__init__(schedule)

    def times(self, num_steps: int) -> list[float]:
        first, noisiest = self._finite_end(1.0, 1 - 1 / self.rows)
        last, cleanest = self._finite_end(0.0, 1 / self.rows)
        before = [] if first == 1 else [1.0]
        count = num_steps - len(before)
        if count < 2:
            return [*before, first][:num_steps]
        within = self.schedule.time(self.spaced(noisiest, cleanest, count))[1:-1]
        return [*before, first, *within.tolist(), last]

    def spaced(self, noisiest: float, cleanest: float, count: int) -> Tensor:
        """Return `count` log-SNRs, at least two, from the noisiest to the cleanest: [count] float64."""
        return torch.linspace(noisiest, cleanest, count, dtype=torch.float64)

    def _finite_end(self, end: float, near: float) -> tuple[float, float]:
        """Return the time at one end, or near to it where the log-SNR is infinite there; and its log-SNR."""
        for t in (end, near):
            log_snr = float(self.schedule.log_snr(torch.tensor([t], dtype=torch.float64)))
            if math.isfinite(log_snr):
                return t, log_snr
        raise ValueError(f"grid={type(self).__name__} needs a schedule with a finite log-SNR at t = {near}")
