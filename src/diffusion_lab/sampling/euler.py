"""Euler's method for the probability-flow ODE in time (Song et al. 2021, score-based SDEs, section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.gaussian_sampler import GaussianSampler
from diffusion_lab.sampling.grids import TimeGrid


class Euler(GaussianSampler):
    """z_s = z_t + (s − t) dz/dt with dz/dt = alpha'(t) x0 + sigma'(t) eps.

    For the linear path of flow matching this is DDIM with eta = 0; for other schedules it is coarser. One evaluation of
    the network for each step.

    Args:
        process: a Gaussian process whose schedule has finite derivatives at all times of the grid.
        grid: the times of the steps.
        num_steps: how many steps.

    Raises:
        ValueError: if the grid has not so many steps, or a derivative is infinite.
    """

    reversible = True

    def __init__(self, process: Gaussian, grid: TimeGrid, num_steps: int = 50) -> None:
        super().__init__(process, grid, num_steps)
        t = torch.tensor([t for t, _ in self.steps], dtype=torch.float64)
        slopes = torch.stack([process.schedule.d_alpha(t), process.schedule.d_sigma(t)])
        if not bool(slopes.isfinite().all()):
            raise ValueError(
                f"sampler=euler needs a finite slope at each time, and {type(process.schedule).__name__} has none at "
                f"t = {float(t[~slopes.isfinite().all(0)][0]):g}: take sampler=ddim, which needs no slope"
            )

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z, schedule = state.z, self.process.schedule
        prediction = denoiser(z, t)
        of_x0, of_eps = (s - t) * schedule.d_alpha(t), (s - t) * schedule.d_sigma(t)
        return State(z + per_sample(of_x0, z) * prediction.x0 + per_sample(of_eps, z) * prediction.eps)
