"""The sigmoid schedule (Jabri et al. 2022, RIN; Chen 2023, section 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_lab.schedules.closed_form import ClosedForm
from diffusion_lab.schedules.discrete import BetaTable
from diffusion_lab.schedules.variance_preserving import VariancePreserving


class SigmoidSchedule(VariancePreserving):
    """alpha_bar falls from 1 as a part of a sigmoid: (S(end) − S(t)) / (S(end) − S(start)).

    S(t) = sigmoid((start + t (end − start)) / temperature), and betas of at most `max_beta`. In continuous time there
    are no betas. There, no signal is left at t = 1 with `zero_terminal_snr`; else time ends a little earlier, where as
    much is left as after the last of 1000 steps (`ClosedForm.end_with_signal`).

    Args:
        steps: T, the number of steps; None for continuous time.
        start, end: the part of the sigmoid.
        temperature: how gently it falls.
        max_beta: where the betas are clipped, below 1.
        zero_terminal_snr: no signal is left at t = 1 (see `BetaTable`).

    Raises:
        ValueError: if an argument lies outside its range.
    """

    def __init__(
        self,
        steps: int | None = 1000,
        start: float = -3.0,
        end: float = 3.0,
        temperature: float = 1.0,
        max_beta: float = 0.999,
        zero_terminal_snr: bool = False,
    ) -> None:
        few = steps is not None and steps < 2
        if few or not -math.inf < start < end < math.inf or not 0 < temperature < math.inf or not 0 < max_beta < 1:
            raise ValueError(
                "schedule.steps >= 2, schedule.start < schedule.end, schedule.temperature > 0 and 0 < "
                f"schedule.max_beta < 1 are needed, got {steps}, {start}, {end}, {temperature} and {max_beta}"
            )
        if steps is None:
            sigmoid = _Sigmoid(start / temperature, end / temperature)
            if not zero_terminal_snr:
                sigmoid.end_with_signal(max_beta)
            super().__init__(sigmoid)
            return
        x = torch.linspace(start, end, steps + 1, dtype=torch.float64) / temperature
        left = torch.sigmoid(x[-1]) - torch.sigmoid(x)  # alpha_bar times a constant
        betas = (1 - left[1:] / left[:-1]).clamp(max=max_beta)
        super().__init__(BetaTable(betas, zero_terminal_snr))


class _Sigmoid(ClosedForm):
    """alpha² = (S(b) − S(y)) / (S(b) − S(a)) with y = a + x (b − a) and S(b) − S(y) = −expm1(y − b) S(b) S(−y)."""

    def __init__(self, a: float, b: float) -> None:
        self.a, self.b = torch.tensor([a, b], dtype=torch.float64)
        self.width = b - a

    def log_snr_at(self, x: Tensor) -> Tensor:
        left, gone = (1 - x) * self.width, x * self.width
        ends = functional.logsigmoid(self.b) - functional.logsigmoid(-self.a)
        return (-torch.expm1(-left)).log() - (-torch.expm1(-gone)).log() - (self.a + gone) + ends

    def slopes_at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_snr = self.a + x * self.width, self.log_snr_at(x)
        whole = -torch.expm1(self.a - self.b) * torch.sigmoid(self.b) * torch.sigmoid(-self.a)
        d_signal = -self.width * torch.sigmoid(y) * torch.sigmoid(-y) / whole
        return d_signal / (2 * torch.sigmoid(log_snr).sqrt()), -d_signal / (2 * torch.sigmoid(-log_snr).sqrt())

    def place(self, log_snr: Tensor) -> Tensor:
        signal, noise = torch.sigmoid(log_snr), torch.sigmoid(-log_snr)
        # S(y) and S(−y) lie between those of the ends.
        up = noise * torch.sigmoid(self.b) + signal * torch.sigmoid(self.a)
        down = noise * torch.sigmoid(-self.b) + signal * torch.sigmoid(-self.a)
        return ((up / down).log() - self.a) / self.width
