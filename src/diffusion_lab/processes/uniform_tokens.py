"""The uniform process: a destroyed token becomes any token, itself included (Austin et al. 2021, D3PM, A.2.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.processes.base import per_sample
from diffusion_lab.processes.discrete_process import DiscreteProcess, TokenPrediction
from diffusion_lab.processes.prediction import Prediction
from diffusion_lab.schedules import RateSchedule


class Uniform(DiscreteProcess):
    """Destroyed positions are uniform over the vocabulary; a state does not show which positions these are.

    Args:
        schedule, vocab_size: see `DiscreteProcess`.
    """

    def __init__(self, schedule: RateSchedule, vocab_size: int) -> None:
        super().__init__(schedule, vocab_size)
        self.num_states = vocab_size

    @property
    def limit(self) -> Tensor:
        return torch.full((self.vocab_size,), 1 / self.vocab_size, dtype=torch.float64)

    def bound_rate(self, prediction: TokenPrediction, z0: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return −α'/(N α) Σ_j [s_j − r_j + r_j log(r_j/s_j)] with r_j = x̄_j/x̄_i (Schiff et al. 2024, UDLM, eq. 19).

        x̄ = N α x + 1 − α for the one-hot vector of the data, and s for the predicted distribution; i is the state.
        """
        size = self.vocab_size
        # Where nothing survives, the sum is 0 and the rate infinite; their product tends to 0.
        survival = per_sample(self.schedule.survival(t).clamp(min=1e-10), z_t).expand(z_t.shape)
        gone = per_sample(self.schedule.gone(t).clamp(max=1 - 1e-10), z_t).expand(z_t.shape)
        predicted = size * survival[..., None] * prediction.x0.double().exp() + gone[..., None]  # [B, *D, N]
        logs = predicted.log()
        here, there = (logs.gather(-1, index[..., None])[..., 0] for index in (z_t, z0))
        kept = z_t == z0
        full = size * survival + gone  # x̄ at the token of the data; it is `gone` at all others
        real = torch.where(kept, full, gone)
        # Sums over j of s_j, r_j, r_j log r_j and r_j log s_j, of which the last two have one term unlike the others.
        of_s, of_r = size / here.exp(), size / real
        r_log_r = (torch.xlogy(full, full) + (size - 1) * torch.xlogy(gone, gone)) / real - of_r * real.log()
        r_log_s = ((full - gone) * there + gone * logs.sum(-1)) / real - of_r * here
        rate = -per_sample(self.schedule.d_survival(t), z_t) / (size * survival)
        return rate * (of_s - of_r + r_log_r - r_log_s)

    def log_scores_of(self, prediction: Prediction, z_t: Tensor, t: Tensor) -> Tensor:
        """Return log x̄_y − log x̄_i, with x̄ = N α p + 1 − α of the predicted probabilities p, and i the state."""
        survival, gone = self._shares(t, z_t)
        logs = (self.vocab_size * survival * prediction.x0.double().exp() + gone).log()
        return logs - logs.gather(-1, z_t[..., None])

    def scores_of_raw(self, raw: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return the raw output, with a score of 1 for the token of the state."""
        return raw.scatter(-1, z_t[..., None], 0.0)

    def x0_of(self, log_scores: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return p = (x̄ − 1 + α)/(N α) with x̄ = N s/Σ s, as near to probabilities above 0 as scores allow."""
        _, gone = self._shares(t, z_t)
        probs = (self.vocab_size * log_scores.double().softmax(-1) - gone).clamp(min=0)
        # Of 0 a loss would be infinite; less than this, p = 1e-7/N, is lost in the rounding of float32 scores.
        probs = probs.clamp(min=torch.finfo(torch.float32).eps * probs.mean(-1, keepdim=True))
        return (probs / probs.sum(-1, keepdim=True)).log().to(log_scores.dtype)

    def jump_rate(self, z_t: Tensor) -> Tensor:
        """Return 1/N: each token becomes each other one."""
        return torch.full(z_t.shape, 1 / self.vocab_size, dtype=torch.float64, device=z_t.device)

    def destroyed(self, u: Tensor) -> Tensor:
        return self._uniform_tokens(u)
