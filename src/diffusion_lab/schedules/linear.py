"""The linear schedule of DDPM (Ho et al. 2020, section 4), and its limit, the VP-SDE (Song et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_lab.schedules.closed_form import ClosedForm
from diffusion_lab.schedules.discrete import BetaTable
from diffusion_lab.schedules.variance_preserving import VariancePreserving


class LinearSchedule(VariancePreserving):
    """Betas that rise linearly; in continuous time, alpha = exp(−t² (b1 − b0)/4 − t b0/2) (Song et al. 2021, eq. 33).

    The betas of T steps are multiplied by 1000/T, so that every T destroys the data alike. The limit of many steps is
    the VP-SDE with the rates b0 = 1000 · beta_start and b1 = 1000 · beta_end.

    Args:
        steps: T, the number of steps; None for continuous time.
        beta_start: the first beta of a process of 1000 steps.
        beta_end: the last beta of a process of 1000 steps.
        zero_terminal_snr: shift and scale alpha so that no signal is left at t = 1 (see `BetaTable`).

    Raises:
        ValueError: if a scaled beta lies outside (0, 1), as it does for T <= 20 with the usual ends.
    """

    def __init__(
        self,
        steps: int | None = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        zero_terminal_snr: bool = False,
    ) -> None:
        if steps is not None and steps < 2:
            raise ValueError(f"schedule.steps must be at least 2, got {steps}")
        count = steps or 1000
        betas = torch.linspace(beta_start, beta_end, count, dtype=torch.float64) * (1000 / count)
        if not bool(((betas > 0) & (betas < 1)).all()):
            of = "of 1000 steps" if steps is None else "scaled by 1000/steps"
            raise ValueError(
                f"schedule.steps={'null' if steps is None else steps}: the betas, {of}, run from {betas[0]:.4g} to "
                f"{betas[-1]:.4g}, and each must lie strictly between 0 and 1; take "
                f"{'smaller' if steps is None else 'more steps or smaller'} betas"
            )
        if steps is None:
            super().__init__(_Linear(1000 * beta_start, 1000 * beta_end, zero_terminal_snr))
        else:
            super().__init__(BetaTable(betas, zero_terminal_snr))


class _Linear(ClosedForm):
    """alpha = e^(−c/2) with c = x² (b1 − b0)/2 + x b0, the integral of the rate.

    Without signal at the end, where c = c1, it is shifted and scaled: (e^(−c/2) − e^(−c1/2)) / (1 − e^(−c1/2)).

    Args:
        first, last: the rates b0 and b1.
        zero_terminal_snr: whether it is.
    """

    def __init__(self, first: float, last: float, zero_terminal_snr: bool) -> None:
        self.first, self.growth = first, last - first
        self.zero_terminal_snr = zero_terminal_snr
        self.whole = torch.tensor(self.growth / 2 + first, dtype=torch.float64)

    def log_snr_at(self, x: Tensor) -> Tensor:
        integral = x * (x * self.growth / 2 + self.first)
        if not self.zero_terminal_snr:
            return -integral - (-torch.expm1(-integral)).log()
        alpha, lost = self._alpha(x), torch.expm1(-integral / 2) / torch.expm1(-self.whole / 2)  # lost = 1 − alpha
        return 2 * alpha.log() - lost.log() - alpha.log1p()

    def slopes_at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        integral, rate = x * (x * self.growth / 2 + self.first), x * self.growth + self.first
        sigma = torch.sigmoid(-self.log_snr_at(x)).sqrt()
        slope = -rate / 2 * torch.exp(-integral / 2)
        if self.zero_terminal_snr:
            slope = slope / -torch.expm1(-self.whole / 2)
        return slope, -self._alpha(x) * slope / sigma

    def place(self, log_snr: Tensor) -> Tensor:
        integral = -functional.logsigmoid(log_snr)
        if self.zero_terminal_snr:
            lost = torch.sigmoid(-log_snr) / (1 + torch.sigmoid(log_snr).sqrt())
            integral = -2 * torch.log1p(lost * torch.expm1(-self.whole / 2))
        integral = integral.minimum(self.whole.to(integral.device))
        # The root of the quadratic equation, in the form that does not cancel digits.
        return 2 * integral / (self.first + (self.first**2 + 2 * self.growth * integral).clamp(min=0).sqrt())

    def _alpha(self, x: Tensor) -> Tensor:
        if not self.zero_terminal_snr:
            return torch.exp(-x * (x * self.growth / 2 + self.first) / 2)
        rest = (1 - x) * ((1 + x) * self.growth / 2 + self.first)  # c1 − c, exactly 0 at the end
        return torch.expm1(rest / 2) / torch.expm1(self.whole / 2)
