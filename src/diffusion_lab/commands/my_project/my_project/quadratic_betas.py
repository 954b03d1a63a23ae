"""A schedule whose betas rise quadratically."""

from __future__ import annotations

import torch

from diffusion_lab.schedules import DiscreteSchedule


class QuadraticSchedule(DiscreteSchedule):
    """Betas of which the square roots rise evenly: less is destroyed in the first steps than with linear betas.

    Args:
        steps: T, at least 2.
        beta_start: the first beta, in (0, 1).
        beta_end: the last beta, in (0, 1).
    """

    def __init__(self, steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> None:
        if steps < 2:
            raise ValueError(f"schedule.steps must be at least 2, got {steps}")
        if not (0 < beta_start < 1 and 0 < beta_end < 1):
            raise ValueError(f"schedule.beta_start and beta_end must lie in (0, 1), got {beta_start} and {beta_end}")
        super().__init__(torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2)
