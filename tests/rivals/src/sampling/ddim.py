"""DDIM with eta = 0 (Song et al. 2021)."""

import torch

from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling.base import Sampler, State
from diffusion_lab.sampling.grids import TimeGrid


class DDIM(Sampler):
    def __init__(self, process: Gaussian, grid: TimeGrid, num_steps: int = 50) -> None:
        super().__init__(grid.steps(num_steps))
        self.process = process

    def step(self, state, t, s, denoiser, noise):
        prediction, schedule = denoiser(state.z, t), self.process.schedule
        alpha, sigma = (per_sample(of(s), state.z) for of in (schedule.alpha, schedule.sigma))
        return State(alpha * prediction.x0 + sigma * torch.as_tensor(prediction.eps))
