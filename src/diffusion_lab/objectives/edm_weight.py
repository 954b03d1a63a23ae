"""The weight of EDM (Karras et al. 2022, table 1)."""

from __future__ import annotations

import math

from torch import Tensor

from diffusion_lab.objectives.weight import Weight


class EDMWeight(Weight):
    """(r² + d²) / (r d)² = 1/d² + SNR with r = sigma/alpha and d = sigma_data: 1 in the space of EDM's raw output.

    Args:
        sigma_data: the standard deviation of the data, as in the parameterization.

    Raises:
        ValueError: if it is not positive.
    """

    def __init__(self, sigma_data: float = 0.5) -> None:
        if not 0 < sigma_data < math.inf:
            raise ValueError(f"weight.sigma_data must be positive and finite, got {sigma_data}")
        self.sigma_data = sigma_data

    def __call__(self, log_snr: Tensor) -> Tensor:
        return log_snr.double().exp() + 1 / self.sigma_data**2
