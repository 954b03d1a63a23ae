"""Ancestral sampling of an absorbing process, in even steps."""

from diffusion_lab.processes.absorbing import Absorbing

from diffusion_lab.sampling.base import Sampler, State
from diffusion_lab.sampling.time_grids import trailing


class Unmasking(Sampler):
    def __init__(self, process: Absorbing, num_steps: int = 8) -> None:
        self.process, self.num_steps = process, num_steps

    def __len__(self) -> int:
        return self.num_steps

    def steps(self):
        return trailing(self.num_steps, self.num_steps)

    def step(self, state, t, s, denoiser, noise):
        return State(self.process.posterior(state.z, denoiser(state.z, t), t, s).sample(noise))
