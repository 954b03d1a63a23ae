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
    it is infinite at t = 1, the first step leads from there to `min_log_snr`, and the spacing begins there.

    Args:
        schedule: a Gaussian one.
        min_log_snr: where the spacing begins if the log-SNR is infinite at t = 1. The default is that of sigma/alpha =
            80, at which EDM begins (Karras et al. 2022, table 1): next to nothing is decided before.

    Raises:
        ValueError: if `min_log_snr` is not below the log-SNR at which the spacing ends.
    """

    schedule: GaussianSchedule

    def __init__(self, schedule: GaussianSchedule, min_log_snr: float = -8.76) -> None:
        super().__init__(schedule)
        self.min_log_snr = min_log_snr
        if not -math.inf < min_log_snr < self._clean_end()[1]:
            raise ValueError(
                f"grid.min_log_snr must be finite and below {self._clean_end()[1]:.4g}, the log-SNR at which the last "
                f"step begins, got {min_log_snr}"
            )

    def times(self, num_steps: int) -> list[float]:
        first, noisiest = self._noisy_end()
        last, cleanest = self._clean_end()
        before = [] if first == 1 else [1.0]
        count = num_steps - len(before)
        if count < 2:
            return [*before, first][:num_steps]
        within = self.schedule.time(self.spaced(noisiest, cleanest, count))[1:-1]
        return [*before, first, *within.tolist(), last]

    def spaced(self, noisiest: float, cleanest: float, count: int) -> Tensor:
        """Return `count` log-SNRs, at least two, from the noisiest to the cleanest: [count] float64."""
        return torch.linspace(noisiest, cleanest, count, dtype=torch.float64)

    def _noisy_end(self) -> tuple[float, float]:
        """Return the time at which the spacing begins, and its log-SNR."""
        log_snr = self._log_snr(1.0)
        if math.isfinite(log_snr):
            return 1.0, log_snr
        return float(self.schedule.time(torch.tensor([self.min_log_snr], dtype=torch.float64))), self.min_log_snr

    def _clean_end(self) -> tuple[float, float]:
        """Return the time at which the spacing ends, and its log-SNR."""
        for t in (0.0, 1 / self.rows):
            log_snr = self._log_snr(t)
            if math.isfinite(log_snr):
                return t, log_snr
        raise ValueError(f"grid={type(self).__name__} needs a schedule with a finite log-SNR at t = {1 / self.rows}")

    def _log_snr(self, t: float) -> float:
        return float(self.schedule.log_snr(torch.tensor([t], dtype=torch.float64)))
