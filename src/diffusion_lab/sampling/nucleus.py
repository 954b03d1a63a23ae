"""Temperature, and truncation to the likeliest tokens (Holtzman et al. 2020, nucleus sampling)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_lab.processes import DiscreteProcess, TokenLogProbs, TokenPrediction
from diffusion_lab.sampling.base import Constraint, DenoiserFn, DenoiserTransform


class Nucleus(DenoiserTransform):
    """Predicted tokens are drawn at a temperature, from the smallest set whose probability reaches `top_p`.

    Where scores are predicted, they become those that follow from the changed probabilities of clean tokens, unless
    both arguments are 1.

    Args:
        process: a discrete process.
        temperature: the power 1/temperature of each probability; 0 for the likeliest token, 1 for no change.
        top_p: from 0 to 1; 1 for all tokens. The likeliest token is always kept.

    Raises:
        ValueError: naming the key that is out of its range.
    """

    def __init__(self, process: DiscreteProcess, temperature: float = 1.0, top_p: float = 1.0) -> None:
        if not 0 <= temperature < math.inf:
            raise ValueError(f"clip.temperature must be 0 or more and finite, got {temperature}")
        if not 0 <= top_p <= 1:
            raise ValueError(f"clip.top_p must lie between 0 and 1, got {top_p}")
        self.temperature = temperature
        self.top_p = top_p

    @property
    def facts(self) -> dict[str, float]:
        return {"temperature": self.temperature} | ({} if self.top_p == 1 else {"top-p": self.top_p})

    def __call__(self, denoiser: DenoiserFn, constraint: Constraint | None = None) -> DenoiserFn:
        if self.temperature == 1 and self.top_p == 1:
            return denoiser

        def truncated(z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> TokenLogProbs:
            prediction: TokenPrediction = denoiser(z_t, t, condition)
            return TokenLogProbs(self.changed(prediction.x0), prediction)

        return truncated

    def changed(self, log_probs: Tensor) -> Tensor:
        """Return log-probabilities [..., V] at the temperature, without the tokens beyond `top_p`."""
        if self.temperature == 0:
            likeliest = log_probs.argmax(-1, keepdim=True)
            return torch.full_like(log_probs, -torch.inf).scatter(-1, likeliest, 0.0)
        if self.temperature != 1:
            # In float64, and from 0 downwards, any temperature above 0 gives numbers.
            scaled = (log_probs - log_probs.amax(-1, keepdim=True)).double() / self.temperature
            log_probs = scaled.log_softmax(-1).to(log_probs.dtype)
        if self.top_p < 1:
            ordered, order = log_probs.sort(dim=-1, descending=True)
            before = ordered.exp().cumsum(-1) - ordered.exp()  # the probability of all likelier tokens
            kept = (before < self.top_p) | (torch.arange(order.shape[-1], device=order.device) == 0)
            mask = torch.zeros_like(kept).scatter(-1, order, kept)
            log_probs = log_probs.masked_fill(~mask, -torch.inf).log_softmax(-1)
        return log_probs
