"""The square-root schedule (Li et al. 2022, Diffusion-LM, appendix A)."""

import torch

from diffusion_lab.schedules import DiscreteSchedule


class SquareRootSchedule(DiscreteSchedule):
    """alpha_bar = 1 − √(t + offset), from what the first step leaves."""

    def __init__(self, steps: int = 1000, offset: float = 1e-4) -> None:
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        alpha_bar = (1 - (t + offset).sqrt()).clamp(min=1e-9)
        super().__init__(1 - alpha_bar[1:] / alpha_bar[:-1])
