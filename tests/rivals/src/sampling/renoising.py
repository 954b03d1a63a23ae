"""Each step draws new noise for the predicted data (Song et al. 2023, consistency models, algorithm 1)."""

from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling.base import Sampler, State
from diffusion_lab.sampling.grids import TimeGrid


class Renoising(Sampler):
    def __init__(self, process: Gaussian, grid: TimeGrid, num_steps: int = 5) -> None:
        super().__init__(grid.steps(num_steps))
        self.process = process

    def step(self, state, t, s, denoiser, noise):
        return State(self.process.sample(denoiser(state.z, t).x0, s, noise).z_t)
