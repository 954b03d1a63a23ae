"""The cosine schedule of improved DDPM (Nichol & Dhariwal 2021, eq. 17)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_lab.schedules.closed_form import ClosedForm
from diffusion_lab.schedules.discrete import BetaTable
from diffusion_lab.schedules.variance_preserving import VariancePreserving


class CosineSchedule(VariancePreserving):
    """alpha_bar_t = f(t)/f(0) with f(t) = cos²((t + s)/(1 + s) · π/2), and betas of at most `max_beta`.

    In continuous time there are no betas. There, no signal is left at t = 1 with `zero_terminal_snr`; else time ends a
    little earlier, where as much is left as after the last of 1000 steps (`ClosedForm.end_with_signal`).

    Args:
        steps: T, the number of steps; None for continuous time.
        offset: s, which keeps the first betas from vanishing.
        max_beta: where the betas are clipped, below 1.
        zero_terminal_snr: no signal is left at t = 1 (see `BetaTable`).

    Raises:
        ValueError: if an argument lies outside its range.
    """

    def __init__(
        self,
        steps: int | None = 1000,
        offset: float = 0.008,
        max_beta: float = 0.999,
        zero_terminal_snr: bool = False,
    ) -> None:
        if (steps is not None and steps < 1) or not 0 <= offset < math.inf or not 0 < max_beta < 1:
            raise ValueError(
                f"schedule.steps >= 1, schedule.offset >= 0 and 0 < schedule.max_beta < 1 are needed, "
                f"got {steps}, {offset} and {max_beta}"
            )
        if steps is None:
            cosine = _Cosine(offset)
            if not zero_terminal_snr:
                cosine.end_with_signal(max_beta)
            super().__init__(cosine)
            return
        grid = torch.arange(steps + 1, dtype=torch.float64) / steps
        angle = (grid + offset) / (1 + offset) * (math.pi / 2)
        before, after = angle[:-1], angle[1:]
        # 1 − cos²(after)/cos²(before), without the cancellation that costs the first betas their digits.
        betas = torch.sin(after - before) * torch.sin(after + before) / torch.cos(before) ** 2
        super().__init__(BetaTable(betas.clamp(max=max_beta), zero_terminal_snr))


class _Cosine(ClosedForm):
    """alpha = cos((x + s) k) / cos(s k) with k = π/2 / (1 + s), so that cos((x + s) k) = sin((1 − x) k).

    sigma² = sin(x k) sin((x + 2 s) k) / cos²(s k).
    """

    def __init__(self, offset: float) -> None:
        self.offset, self.k = offset, math.pi / 2 / (1 + offset)

    def log_snr_at(self, x: Tensor) -> Tensor:
        near, far = torch.sin(x * self.k), torch.sin((x + 2 * self.offset) * self.k)
        return 2 * torch.sin((1 - x) * self.k).log() - near.log() - far.log()

    def slopes_at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scale = self.k / math.sin(self.k)
        near, far = x * self.k, (x + 2 * self.offset) * self.k
        # 1 where they are equal, also at 0: sigma is a sine then, whose slope is finite there.
        ratio = torch.where(near == far, 1, torch.sin(far) / torch.sin(near)).sqrt()
        d_sigma = scale / 2 * (torch.cos(near) * ratio + torch.cos(far) / ratio)
        return -scale * torch.cos((1 - x) * self.k), d_sigma

    def place(self, log_snr: Tensor) -> Tensor:
        signal, noise = torch.sigmoid(log_snr), torch.sigmoid(-log_snr)
        sine = (noise + signal * math.sin(self.offset * self.k) ** 2).sqrt()
        return torch.atan2(sine, signal.sqrt() * math.sin(self.k)) / self.k - self.offset
