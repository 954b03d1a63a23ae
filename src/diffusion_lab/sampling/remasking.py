"""Ancestral steps that mask tokens again, so that they can be corrected (Wang et al. 2025, ReMDM)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Absorbing, per_sample
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State
from diffusion_lab.sampling.grids import TimeGrid
from diffusion_lab.sampling.unmask import draw_tokens


class Remasking(Sampler):
    """A token is masked again with probability σ, and masks open more often: the marginals stay those of the process.

    σ may be anything from 0, which is ancestral sampling, to its largest value σ_max = min(1, (1 − α_s)/α_t) (eq. 5).
    Time is left to correct tokens only where there are more steps than tokens, or nearly as many.

    Args:
        process: the absorbing process.
        grid: the times of the steps.
        num_steps: how many.
        strength: η, from 0 to 1.
        rule: ``rescale`` for σ = η σ_max, or ``cap`` for σ = min(η, σ_max) (section 4.1).

    Raises:
        ValueError: naming the key that is out of its range.
    """

    def __init__(
        self,
        process: Absorbing,
        grid: TimeGrid,
        num_steps: int = 256,
        strength: float = 0.02,
        rule: Literal["rescale", "cap"] = "cap",
    ) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"sampler.strength must lie between 0 and 1, got {strength}")
        super().__init__(grid.steps(num_steps))
        self.process = process
        self.strength = strength
        self.rule = rule

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z, process = state.z, self.process
        at_t, gone_t, gone_s = process.schedule.survival(t), process.schedule.gone(t), process.schedule.gone(s)
        largest = (gone_s / at_t.clamp(min=1e-300)).clamp(max=1)  # at_t = 0 leaves no tokens to mask
        again = largest * self.strength if self.rule == "rescale" else largest.clamp(max=self.strength)
        opening = (gone_t - gone_s + again * at_t) / gone_t  # = (α_s − (1 − σ) α_t)/(1 − α_t)
        masked = z == process.mask
        u = noise.at("moves").uniform(z.shape[1:])
        tokens = draw_tokens(denoiser(z, t), noise.at("token"))
        opened = torch.where(u < per_sample(opening, z), tokens, z)
        closed = torch.where(u < per_sample(again, z), process.mask, z)
        return State(torch.where(masked, opened, closed))
