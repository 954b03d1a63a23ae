"""The analytic step of discrete states, by Tweedie's formula (Lou et al. 2024, SEDD, theorem 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_lab.noise import Noise
from diffusion_lab.processes import per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.score_sampler import ScoreSampler


class Tweedie(ScoreSampler):
    """Each position is drawn from (e^{−Δσ Q} s)_i · e^{Δσ Q}(z_t, i): exact for one position, if its scores are.

    Negative values, to which wrong scores lead, count as 0. A last step to t = 0 leaves no mask.

    Arguments as in `ScoreSampler`.
    """

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z, process = state.z, self.process
        tokens = denoiser(z, t).log_scores(process, z, t).exp()
        extra = process.num_states - process.vocab_size
        here = functional.one_hot(z, process.num_states)
        scores = torch.where(here > 0, 1.0, functional.pad(tokens, (0, extra)))  # [B, *D, S]
        keep = per_sample(process.schedule.survival(t) / process.schedule.survival(s), z)[..., None]  # e^{−Δσ}
        lost = per_sample(process.schedule.gone_between(s, t), z)[..., None]  # 1 − e^{−Δσ}
        limit = process.limit.to(z.device)
        # The transition matrix is keep·I + lost·1·limit, and its inverse (I − lost·1·limit)/keep.
        back = (scores - lost * limit * scores.sum(-1, keepdim=True)) / keep
        forward = keep * here + lost * limit[z][..., None]
        return State(self.next_states((back * forward).clamp(min=0), s, noise))
