"""Log-scores of discrete states: ratios of probabilities (Lou et al. 2024, SEDD)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.parameterizations.base import Parameterization
from diffusion_lab.processes import DiscreteProcess, TokenPrediction, per_sample


class LogScores(Parameterization):
    """The raw output [B, *D, V] are log-scores: log s_y ≈ log p_t(y)/p_t(z_t), with a token y for the state.

    At masks log(e^σ − 1) + log V is subtracted, with σ the total rate, so that outputs are of one size at all times.
    The score of what a position holds is 1. No step back leads to a mask, so that there are no scores of masks.

    Args:
        process: a discrete process; at t = 1 some positions must survive.

    Raises:
        ValueError: if nothing survives, where all scores of masks would be 0, or time is in steps.
    """

    process: DiscreteProcess

    def __init__(self, process: DiscreteProcess) -> None:
        super().__init__(process)
        check_survivors(process, "parameterization=log_scores")
        if process.schedule.steps is not None:
            raise ValueError(
                "parameterization=log_scores needs continuous time, schedule.steps=null: the bound of steps is about "
                "probabilities, and scores that are those of none would learn nothing"
            )

    def provides(self) -> dict[str, Any]:
        return {"num_outputs": self.process.vocab_size}

    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> TokenScores:
        return TokenScores(self.process.scores_of_raw(raw.float(), z_t, t), z_t, t, self.process)


@dataclass(frozen=True)
class TokenScores(TokenPrediction):
    """Log-scores [B, *D, V] of tokens in the place of states z_t [B, *D] at times t [B]; they need not fit together."""

    scores: Tensor
    z_t: Tensor
    t: Tensor
    process: DiscreteProcess

    @property
    def x0(self) -> Tensor:
        return self.process.x0_of(self.scores, self.z_t, self.t)

    def last(self, count: int) -> TokenScores:
        t = self.t if self.t.ndim == 1 else self.t[:, -count:]
        return replace(self, scores=self.scores[:, -count:], z_t=self.z_t[:, -count:], t=t)

    def log_scores(self, process: DiscreteProcess, z_t: Tensor, t: Tensor) -> Tensor:
        return self.scores.double()

    def bound_rate(self, process: DiscreteProcess, z0: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Return the score entropy σ' Σ_y Q [s_y − r_y log s_y + r_y (log r_y − 1)] over y ≠ z_t (SEDD, eq. 9).

        r are the scores of one who knows the clean tokens, and Q the rate at which y becomes the state.
        """
        log_s = self.scores.double()
        log_r = process.known(z0).log_scores(process, z_t, t)
        r = log_r.exp()
        terms = log_s.exp() + torch.where(r > 0, r * (log_r - log_s - 1), 0)
        others = torch.arange(process.vocab_size, device=z_t.device) != z_t[..., None]
        entropy = torch.where(others, terms, 0).sum(-1)
        return per_sample(process.schedule.rate(t), z_t) * process.jump_rate(z_t) * entropy


def check_survivors(process: DiscreteProcess, option: str) -> None:
    """Raise ValueError, naming the option, if no token survives at t = 1, where there are no scores then."""
    if not float(process.schedule.survival(torch.ones((), dtype=torch.float64))) > 0:
        raise ValueError(
            f"{option} needs some tokens that survive, or there are no scores at t = 1: take schedule=log_linear with "
            "schedule.remaining=0.001, or schedule=geometric"
        )
