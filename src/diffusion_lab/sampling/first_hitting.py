"""The first-hitting sampler of masked diffusion (Zheng et al. 2024, algorithm 1): exact, a token at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Absorbing
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State
from diffusion_lab.sampling.unmask import draw_tokens, random_masked, time_of_share


class FirstHitting(Sampler):
    """Each step goes to the random time at which the next mask opens, and opens one, chosen at random.

    No error of time steps is made: samples are those of the network's own process in continuous time, also for a
    schedule of T steps, at each of which tokens are independent. The pairs of times that the sampler
    visits are nominal, (n/L, (n − 1)/L); where the n masks of a sample open is drawn for each sample, by
    1 − α(t) ← (1 − α(t)) · u^(1/n) for a uniform u. A sample without masks stays as it is.

    Args:
        process: the absorbing process.
        length: L, the number of positions; filled in from the codec.
    """

    def __init__(self, process: Absorbing, length: int) -> None:
        super().__init__([(n / length, (n - 1) / length) for n in range(length, 0, -1)])
        self.process = process

    def of_length(self, length: int) -> FirstHitting:
        return FirstHitting(self.process, length)

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        schedule, z = self.process.schedule, state.z
        masked = z == self.process.mask
        left = masked.flatten(1).sum(1)  # [B]
        destroyed = state.history.get("destroyed", 1 - schedule.survival(torch.ones_like(t)))
        destroyed = destroyed * noise.at("time").uniform() ** (1 / left.clamp(min=1))
        prediction = denoiser(z, time_of_share(schedule, destroyed))
        tokens = draw_tokens(prediction, noise.at("token"))
        opens = random_masked(masked, torch.ones_like(left), noise.at("position"))
        return State(torch.where(opens, tokens, z), {"destroyed": destroyed})
