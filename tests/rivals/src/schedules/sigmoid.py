"""The sigmoid schedule (Jabri et al. 2023, section 3)."""

import torch

from diffusion_lab.schedules import DiscreteSchedule


class SigmoidSchedule(DiscreteSchedule):
    """alpha_bar falls as a sigmoid of time, from 1 to a small share."""

    def __init__(self, steps: int = 1000, start: float = -3.0, end: float = 3.0) -> None:
        v = torch.sigmoid(torch.linspace(start, end, steps + 1, dtype=torch.float64))
        alpha_bar = ((v[-1] - v) / (v[-1] - v[0])).clamp(min=1e-9)
        super().__init__(1 - alpha_bar[1:] / alpha_bar[:-1])
