"""The sigmoid schedule (Jabri et al. 2022, RIN; Chen 2023, section 2)."""

from __future__ import annotations

import torch

from diffusion_lab.schedules.discrete import DiscreteSchedule


class SigmoidSchedule(DiscreteSchedule):
    """alpha_bar falls from 1 as a part of a sigmoid: (S(end) − S(t)) / (S(end) − S(start)), with T steps.

    S(t) = sigmoid((start + t (end − start)) / temperature), and betas of at most `max_beta`.

    Args:
        steps: T, the number of steps.
        start, end: the part of the sigmoid.
        temperature: how gently it falls.
        max_beta: where the betas are clipped, below 1.
        zero_terminal_snr: see `DiscreteSchedule`.

    Raises:
        ValueError: if an argument lies outside its range.
    """

    def __init__(
        self,
        steps: int = 1000,
        start: float = -3.0,
        end: float = 3.0,
        temperature: float = 1.0,
        max_beta: float = 0.999,
        zero_terminal_snr: bool = False,
    ) -> None:
        if steps < 2 or not start < end or not temperature > 0 or not 0 < max_beta < 1:
            raise ValueError(
                "schedule.steps >= 2, schedule.start < schedule.end, schedule.temperature > 0 and 0 < "
                f"schedule.max_beta < 1 are needed, got {steps}, {start}, {end}, {temperature} and {max_beta}"
            )
        x = torch.linspace(start, end, steps + 1, dtype=torch.float64) / temperature
        left = torch.sigmoid(x[-1]) - torch.sigmoid(x)  # alpha_bar times a constant
        betas = (1 - left[1:] / left[:-1]).clamp(max=max_beta)
        super().__init__(betas, zero_terminal_snr)
