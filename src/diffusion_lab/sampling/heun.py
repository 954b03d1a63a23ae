"""Heun's method of EDM, with its churn (Karras et al. 2022, algorithm 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.gaussian_sampler import GaussianSampler
from diffusion_lab.sampling.grids import TimeGrid


class Heun(GaussianSampler):
    """The trapezoidal rule for d(z/alpha)/dr = eps, where r = sigma/alpha is EDM's noise level for any schedule.

    Two evaluations of the network for each step; one for the last step, which ends without noise, and for a step that
    starts or ends without signal (see `has_signal`): 2·num_steps − 1 for EDM's and the linear schedule, 2·num_steps − 2
    for the cosine schedule at trailing times.

    Args:
        process: a Gaussian process; variance need not be preserved.
        grid: the times of the steps; Karras in the paper.
        num_steps: how many steps.
        churn: S_churn: how much noise is added and removed again over all steps; 0 for a deterministic solver.
        churn_min, churn_max: S_tmin and S_tmax, the noise levels r between which it is.
        churn_noise: S_noise, the standard deviation of that noise.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(
        self,
        process: Gaussian,
        grid: TimeGrid,
        num_steps: int = 18,
        churn: float = 0.0,
        churn_min: float = 0.0,
        churn_max: float = math.inf,
        churn_noise: float = 1.0,
    ) -> None:
        super().__init__(process, grid, num_steps)
        for name, value in {"churn": churn, "churn_min": churn_min, "churn_noise": churn_noise}.items():
            if not value >= 0:
                raise ValueError(f"sampler.{name} must be 0 or more, got {value}")
        if not churn_min <= churn_max:
            raise ValueError(f"sampler.churn_min must not be above churn_max, got {churn_min} and {churn_max}")
        if churn_noise == math.inf:
            raise ValueError("sampler.churn_noise must be finite, got inf")
        self.churn = min(churn / num_steps, math.sqrt(2) - 1)
        self.reversible = churn == 0
        self.churn_range = churn_min, churn_max
        self.churn_noise = churn_noise

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z, t = self._churned(state.z, t, noise) if self.churn else (state.z, t)
        prediction = denoiser(z, t)
        of_z, of_x0 = self.to_data(t, s)
        euler = per_sample(of_z, z) * z + per_sample(of_x0, z) * prediction.x0
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.levels(t), self.levels(s)
        if not (self.has_signal(t) and self.has_signal(s) and bool((sigma_s > 0).all())):
            return State(euler)
        half = alpha_s * (sigma_s / alpha_s - sigma_t / alpha_t) / 2
        return State(euler + per_sample(half, z) * (denoiser(euler, s).eps - prediction.eps))

    def _churned(self, z: Tensor, t: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Return the state with noise added to it, and the earlier time that it has then."""
        alpha, sigma = self.levels(t)
        level = sigma / alpha
        low, high = self.churn_range
        # No further than to t = 1; and not at all from where there is no signal.
        alpha_1, sigma_1 = self.levels(torch.ones_like(t))
        raised = torch.minimum(level * (1 + self.churn), sigma_1 / alpha_1)
        raised = torch.where((level >= low) & (level <= high) & raised.isfinite(), raised, level)
        earlier = torch.where(raised > level, self.process.schedule.time(-2 * raised.log()), t)
        added = torch.where(raised > level, (raised**2 - level**2).sqrt(), 0) * self.churn_noise
        alpha_earlier = self.process.schedule.alpha(earlier)
        ratio = torch.where(raised > level, alpha_earlier / alpha, 1)
        noisier = z + per_sample(alpha * added, z) * noise.normal(z.shape[1:]).to(z)
        return per_sample(ratio, z) * noisier, earlier
