"""The common part of samplers by scores."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.distributions import Categorical
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations.log_scores import check_survivors
from diffusion_lab.processes import DiscreteProcess, per_sample
from diffusion_lab.sampling.base import Sampler
from diffusion_lab.sampling.grids import TimeGrid


class ScoreSampler(Sampler):
    """Steps of the reverse process of tokens by the scores of a prediction.

    Args:
        process: a discrete process.
        grid: the times of the steps.
        num_steps: how many.

    Raises:
        ValueError: if nothing survives at t = 1, where there are no scores.
    """

    def __init__(self, process: DiscreteProcess, grid: TimeGrid, num_steps: int = 64) -> None:
        super().__init__(grid.steps(num_steps))
        check_survivors(process, f"sampler={type(self).__name__}")
        self.process = process

    def next_states(self, probs: Tensor, s: Tensor, noise: Noise) -> Tensor:
        """Draw states [B, *D] at times s from probabilities [B, *D, S], scaled to sum to 1; at s = 0 only tokens."""
        tokens, masks = probs.tensor_split([self.process.vocab_size], dim=-1)
        probs = torch.cat([tokens, masks * per_sample(s > 0, tokens)], dim=-1)
        return Categorical((probs / probs.sum(-1, keepdim=True)).log()).sample(noise)
