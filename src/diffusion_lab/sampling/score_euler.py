"""Euler steps of the reverse process of discrete states (Lou et al. 2024, SEDD, eq. 17)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_lab.noise import Noise
from diffusion_lab.processes import per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.score_sampler import ScoreSampler


class ScoreEuler(ScoreSampler):
    """Each position jumps to a token with a probability of its score times the rate and the length of the step.

    Where these probabilities add up to more than 1, which coarse steps early on lead to, they are scaled to 1. A last
    step to t = 0 leaves no mask: there they are scaled to 1 as well if they add up to less, as learned scores do.

    Arguments as in `ScoreSampler`.
    """

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z, process = state.z, self.process
        scores = denoiser(z, t).log_scores(process, z, t).exp()
        rate = per_sample(process.schedule.rate(t).clamp(max=1e12) * (t - s), z) * process.jump_rate(z)
        jumps = scores * rate[..., None]
        jumps = jumps * (torch.arange(process.vocab_size, device=z.device) != z[..., None])
        total = jumps.sum(-1, keepdim=True)
        jumps = jumps / total.clamp(min=1)
        stays = functional.one_hot(z, process.num_states) * (1 - total.clamp(max=1))
        probs = functional.pad(jumps, (0, process.num_states - process.vocab_size)) + stays
        return State(self.next_states(probs, s, noise))
