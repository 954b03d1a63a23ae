"""Sigmoid weighting (Kingma & Gao 2023; Hoogeboom et al. 2024, Simpler Diffusion)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.objectives.weight import Weight


class SigmoidWeight(Weight):
    """SNR · sigmoid(bias − log-SNR): that of noise prediction, which fades out where there is little noise.

    The papers weight times that are uniform in the log-SNR, as `schedule=edm` with uniform times are. With others, the
    density of their log-SNRs multiplies the weight, as it does with every weight here.

    Args:
        bias: the log-SNR at which half of it is left.

    Raises:
        ValueError: if it lies beyond all log-SNRs there are.
    """

    def __init__(self, bias: float = 2.0) -> None:
        if not abs(bias) <= 100:
            raise ValueError(f"weight.bias must lie between -100 and 100, got {bias}")
        self.bias = bias

    def __call__(self, log_snr: Tensor) -> Tensor:
        # SNR/(1 + e^(log_snr − bias)), in a form that is finite where the SNR is infinite.
        return torch.sigmoid(log_snr.double() - self.bias) * torch.tensor(self.bias, dtype=torch.float64).exp()
