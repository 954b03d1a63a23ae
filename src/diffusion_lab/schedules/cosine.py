"""The cosine schedule of improved DDPM (Nichol & Dhariwal 2021, eq. 17)."""

from __future__ import annotations

import math

import torch

from diffusion_lab.schedules.discrete import DiscreteSchedule


class CosineSchedule(DiscreteSchedule):
    """alpha_bar_t = f(t)/f(0) with f(t) = cos²((t/T + s)/(1 + s) · π/2), and betas of at most `max_beta`.

    Args:
        steps: T, the number of steps.
        offset: s, which keeps the first betas from vanishing.
        max_beta: where the betas are clipped, below 1.
        zero_terminal_snr: see `DiscreteSchedule`.

    Raises:
        ValueError: if an argument lies outside its range.
    """

    def __init__(
        self, steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999, zero_terminal_snr: bool = False
    ) -> None:
        if steps < 1 or offset < 0 or not 0 < max_beta < 1:
            raise ValueError(
                f"schedule.steps >= 1, schedule.offset >= 0 and 0 < schedule.max_beta < 1 are needed, "
                f"got {steps}, {offset} and {max_beta}"
            )
        grid = torch.arange(steps + 1, dtype=torch.float64) / steps
        angle = (grid + offset) / (1 + offset) * (math.pi / 2)
        before, after = angle[:-1], angle[1:]
        # 1 − cos²(after)/cos²(before), without the cancellation that costs the first betas their digits.
        betas = torch.sin(after - before) * torch.sin(after + before) / torch.cos(before) ** 2
        super().__init__(betas.clamp(max=max_beta), zero_terminal_snr)
