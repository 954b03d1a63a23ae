"""Perception-prioritized weighting, P2 (Choi et al. 2022, eq. 8)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_lab.objectives.weight import Weight


class P2(Weight):
    """SNR / (k + SNR)^gamma: 1 / (k + SNR)^gamma times the weight of noise prediction.

    Args:
        k: 1 in the paper.
        gamma: 0.5 or 1 in the paper; 0 is noise prediction itself.

    Raises:
        ValueError: if `k` is not positive or `gamma` negative.
    """

    def __init__(self, k: float = 1.0, gamma: float = 1.0) -> None:
        if not (0 < k < math.inf and 0 <= gamma < math.inf):
            raise ValueError(f"weight.k must be positive, weight.gamma 0 or more, both finite, got {k} and {gamma}")
        self.k, self.gamma = k, gamma

    def __call__(self, log_snr: Tensor) -> Tensor:
        snr = log_snr.double().exp()
        # The same number twice: neither form is infinite over infinite on its side.
        clean = snr ** (1 - self.gamma) / (1 + self.k / snr) ** self.gamma
        return torch.where(snr > self.k, clean, snr / (self.k + snr) ** self.gamma)
