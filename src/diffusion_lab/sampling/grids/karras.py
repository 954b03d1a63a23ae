"""The steps of EDM (Karras et al. 2022, eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.sampling.grids.uniform_log_snr import UniformLogSNR
from diffusion_lab.schedules import GaussianSchedule


class Karras(UniformLogSNR):
    """Times at which (sigma/alpha)^(1/rho) is evenly spaced, with the ends of `UniformLogSNR`.

    Args:
        schedule: a Gaussian one.
        rho: how much the steps shorten towards clean data; 7 in the paper, 1 for even steps in sigma/alpha.
        min_log_snr: see `UniformLogSNR`.

    Raises:
        ValueError: if `rho` is not positive.
    """

    def __init__(self, schedule: GaussianSchedule, rho: float = 7.0, min_log_snr: float = -8.76) -> None:
        super().__init__(schedule, min_log_snr)
        if not rho > 0:
            raise ValueError(f"grid.rho must be positive, got {rho}")
        self.rho = rho

    def spaced(self, noisiest: float, cleanest: float, count: int) -> Tensor:
        # (sigma/alpha)^(1/rho) = exp(−log_snr / 2 rho)
        ends = torch.tensor([noisiest, cleanest], dtype=torch.float64).div(-2 * self.rho).exp()
        way = torch.linspace(0, 1, count, dtype=torch.float64)
        return -2 * self.rho * (ends[0] + way * (ends[1] - ends[0])).log()
