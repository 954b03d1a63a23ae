"""Min-SNR-γ (Hang et al. 2023, section 3.4)."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.objectives.weight import Weight


class MinSNR(Weight):
    """min(SNR, gamma): the weight of noise prediction, but no more than gamma where there is little noise.

    Args:
        gamma: 5 in the paper.

    Raises:
        ValueError: if it is not positive.
    """

    def __init__(self, gamma: float = 5.0) -> None:
        if not gamma > 0:
            raise ValueError(f"weight.gamma must be positive, got {gamma}")
        self.gamma = gamma

    def __call__(self, log_snr: Tensor) -> Tensor:
        return log_snr.double().exp().clamp(max=self.gamma)
