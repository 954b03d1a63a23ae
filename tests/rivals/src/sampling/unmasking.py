"""Ancestral sampling of an absorbing process, in even steps."""

from diffusion_lab.processes.erasing import Erasing

from diffusion_lab.sampling.base import Sampler, State
from diffusion_lab.sampling.grids import TimeGrid


class Unmasking(Sampler):
    def __init__(self, process: Erasing, grid: TimeGrid, num_steps: int = 8) -> None:
        super().__init__(grid.steps(num_steps))
        self.process = process

    def step(self, state, t, s, denoiser, noise):
        return State(self.process.posterior(state.z, denoiser(state.z, t), t, s).sample(noise))
