"""From data back to the noise that it is drawn from (Song et al. 2021, DDIM, section 4.3; Dhariwal & Nichol 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State, Walk, full_time


class Inversion(Walk):
    """The times of a deterministic sampler from the last to the first, with the sampler's own steps upwards.

    Drawing from the state that it ends in leads back to the data, with an error that falls at the sampler's order as
    the steps grow in number.

    The first step leads from clean data, where the log-SNR is infinite or which no time stands for, to the last time s
    that the sampler visits before it. Downwards that step is z0 = x0(z_s, s) or nearly so, which is z_s = alpha_s z0 +
    sigma_s eps(z_s, s); upwards eps(alpha_s z0, s) is taken for eps(z_s, s): of first order, with one evaluation of the
    network, and none at a time that it was not trained for.

    Args:
        process: the sampler's.
        sampler: a deterministic one.

    Raises:
        ValueError: naming the sampler, if it adds noise.
    """

    def __init__(self, process: Gaussian, sampler: Sampler) -> None:
        if not sampler.reversible:
            raise ValueError(
                f"sampler={type(sampler).__name__} adds noise as it is set, and cannot run backwards: take one that "
                "does not, such as sampler=ddim sampler.eta=0, sampler=heun sampler.churn=0 or sampler=dpmpp_2m"
            )
        super().__init__([(s, t) for t, s in reversed(sampler.steps)])
        self.process = process
        self.sampler = sampler

    def take(self, state: State, times: tuple[float, float], denoiser: DenoiserFn, noise: Noise) -> State:
        if times == self.steps[0]:
            return State(self._from_data(state.z, full_time(times[1], noise), denoiser))
        return self.sampler.take(state, times, denoiser, noise)

    def _from_data(self, z0: Tensor, s: Tensor, denoiser: DenoiserFn) -> Tensor:
        scaled = self.process.mix(z0, s, torch.zeros_like(z0)).z_t
        return self.process.mix(z0, s, denoiser(scaled, s).eps).z_t
