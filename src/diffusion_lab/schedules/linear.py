"""The linear schedule of DDPM (Ho et al. 2020, section 4)."""

from __future__ import annotations

import torch

from diffusion_lab.schedules.discrete import DiscreteSchedule


class LinearSchedule(DiscreteSchedule):
    """Betas that rise linearly.

    Args:
        steps: T, the number of steps.
        beta_start: the first beta of a process of 1000 steps.
        beta_end: the last beta of a process of 1000 steps.
        zero_terminal_snr: see `DiscreteSchedule`.

    The betas are multiplied by 1000/T, so that every T destroys the data alike.

    Raises:
        ValueError: if a scaled beta lies outside (0, 1), as it does for T <= 20 with the usual ends.
    """

    def __init__(
        self, steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02, zero_terminal_snr: bool = False
    ) -> None:
        if steps < 2:
            raise ValueError(f"schedule.steps must be at least 2, got {steps}")
        betas = torch.linspace(beta_start, beta_end, steps, dtype=torch.float64) * (1000 / steps)
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError(
                f"schedule.steps={steps}: the betas, scaled by 1000/steps, run from {betas[0]:.4g} to "
                f"{betas[-1]:.4g}, and each must lie strictly between 0 and 1; take more steps or smaller betas"
            )
        super().__init__(betas, zero_terminal_snr)
