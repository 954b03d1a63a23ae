"""The same weight at every time."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.objectives.weight import Weight


class ConstantWeight(Weight):
    """The squared error of the data itself, at every time."""

    def __call__(self, log_snr: Tensor) -> Tensor:
        return torch.ones_like(log_snr, dtype=torch.float64)
