"""The linear path of flow matching (Lipman et al. 2023; Liu et al. 2023, rectified flow)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.schedules.base import GaussianSchedule


class FlowSchedule(GaussianSchedule):
    """alpha = 1 − t and sigma = t, in continuous time. The log-SNR is +inf at t = 0 and −inf at t = 1."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t.double()

    def sigma(self, t: Tensor) -> Tensor:
        return t.double()

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.full_like(t, -1, dtype=torch.float64)

    def d_sigma(self, t: Tensor) -> Tensor:
        return torch.ones_like(t, dtype=torch.float64)

    def time(self, log_snr: Tensor) -> Tensor:
        """Return 1/(1 + exp(log_snr/2)), which exists for all values."""
        return torch.sigmoid(-log_snr.double() / 2)
