"""DDIM (Song et al. 2021, eq. 12)."""

from __future__ import annotations

import math

from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.gaussian_sampler import GaussianSampler
from diffusion_lab.sampling.grids import TimeGrid


class DDIM(GaussianSampler):
    """z_s = alpha_s x0 + √(sigma_s² − v) eps + √v noise, with the variance v = eta² β̃.

    With eta = 0 it is deterministic, the first-order solver of the probability-flow ODE; with eta = 1 it is ancestral
    sampling with the posterior's variance. One evaluation of the network for each step.

    Args:
        process: a Gaussian process; variance need not be preserved.
        grid: the times of the steps.
        num_steps: how many steps.
        eta: 0 or more; v is at most sigma_s².

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(self, process: Gaussian, grid: TimeGrid, num_steps: int = 50, eta: float = 0.0) -> None:
        super().__init__(process, grid, num_steps)
        if not 0 <= eta < math.inf:
            raise ValueError(f"sampler.eta must be 0 or more and finite, got {eta}")
        self.eta = eta
        self.reversible = eta == 0

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z = state.z
        prediction = denoiser(z, t)
        alpha, sigma = self.levels(s)
        if not self.eta:
            return State(per_sample(alpha, z) * prediction.x0 + per_sample(sigma, z) * prediction.eps)
        variance = (self.eta**2 * self.process.posterior_variance(t, s)).minimum(sigma**2)
        direction, std = (sigma**2 - variance).sqrt(), variance.sqrt()
        mean = per_sample(alpha, z) * prediction.x0 + per_sample(direction, z) * prediction.eps
        return State(mean + per_sample(std, z) * noise.normal(z.shape[1:]).to(z))
