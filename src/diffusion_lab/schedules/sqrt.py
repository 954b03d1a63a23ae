"""The sqrt schedule of Diffusion-LM (Li et al. 2022, section 4.2 and appendix A)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.schedules.closed_form import ClosedForm
from diffusion_lab.schedules.discrete import BetaTable
from diffusion_lab.schedules.variance_preserving import VariancePreserving


class SqrtSchedule(VariancePreserving):
    """alpha_bar = 1 − √(t + s): the noise rises fast at first, where tokens are still easily told apart.

    With T steps, rows n = 1, …, T have 1 − √(n/T + s), as far as betas of at most `max_beta` allow: at t = 1 the
    formula is below 0, and the clipped last beta leaves a little signal. Row 0 is clean data, as in every table of
    steps; the paper's code divides all rows by 1 − √s instead.

    In continuous time the formula holds from t = 0, where √s of variance is noise already (0.01, alpha_bar = 0.99): no
    time is clean data, and sampling ends with a step from the last time to it. No signal is left at t = 1 with
    `zero_terminal_snr`; else time ends a little earlier, where as much is left as after the last of 1000 steps
    (`ClosedForm.end_with_signal`).

    Args:
        steps: T, the number of steps; None for continuous time.
        offset: s, which says how much noise there is at once; in continuous time below 0.001.
        max_beta: where the betas are clipped, below 1.
        zero_terminal_snr: no signal is left at t = 1 (see `BetaTable`).

    Raises:
        ValueError: if an argument lies outside its range.
    """

    def __init__(
        self,
        steps: int | None = 2000,
        offset: float = 1e-4,
        max_beta: float = 0.999,
        zero_terminal_snr: bool = False,
    ) -> None:
        few = steps is not None and steps < 2
        if few or not 0 < offset < 0.5 or not 0 < max_beta < 1:
            raise ValueError(
                "schedule.steps >= 2, 0 < schedule.offset < 0.5 and 0 < schedule.max_beta < 1 are needed, got "
                f"{steps}, {offset} and {max_beta}"
            )
        if steps is None:
            root = _Sqrt(offset)
            if not zero_terminal_snr:
                root.end_with_signal(max_beta)
            super().__init__(root)
            return
        grid = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        alpha_bar = (1 - (grid + offset).sqrt()).clamp(min=0)
        before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        # Where the formula has reached 0, its ratio is 0/0, and the beta the largest.
        betas = torch.where(before > 0, 1 - alpha_bar / before, 1.0).clamp(max=max_beta)
        super().__init__(BetaTable(betas, zero_terminal_snr))


class _Sqrt(ClosedForm):
    """alpha² = 1 − √(x + s) and sigma² = √(x + s), up to x = 1 − s."""

    def __init__(self, offset: float) -> None:
        self.offset = offset
        self.end = self.last = 1 - offset

    def log_snr_at(self, x: Tensor) -> Tensor:
        root = (x + self.offset).sqrt()
        return (self.last - x).log() - root.log1p() - root.log()  # 1 − √u = (1 − u) / (1 + √u)

    def slopes_at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        root = (x + self.offset).sqrt()
        alpha = ((self.last - x) / (1 + root)).sqrt()
        return -1 / (4 * root * alpha), root**-1.5 / 4

    def place(self, log_snr: Tensor) -> Tensor:
        signal, noise = torch.sigmoid(log_snr), torch.sigmoid(-log_snr)
        # noise² − s = 1 − s − (1 − noise²), in which no digits cancel where little signal is left
        return torch.where(signal < 0.5, self.last - signal * (1 + noise), noise**2 - self.offset)
