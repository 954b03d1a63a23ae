"""Ancestral sampling (Ho et al. 2020, algorithm 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian
from diffusion_lab.processes.gaussian import per_sample
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State
from diffusion_lab.sampling.time_grids import trailing
from diffusion_lab.schedules import of_steps

Variance = Literal["beta", "beta_tilde"]


class Ancestral(Sampler):
    """Each step draws from the posterior of the predicted data.

    Args:
        process: a Gaussian process on a schedule of T steps.
        variance: ``beta`` for σ² = β (the upper bound, right for data that is standard normal) or
            ``beta_tilde`` for σ² = β̃ (the lower bound, right for data that is one point); DDPM section 3.2.
        num_steps: how many steps, evenly spaced; all T where None.

    The last step, to s = 0, adds no noise.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(self, process: Gaussian, variance: Variance = "beta_tilde", num_steps: int | None = None) -> None:
        total = of_steps(process.schedule, "sampler=ancestral").steps
        if variance not in get_args(Variance):
            raise ValueError(f"sampler.variance must be one of {', '.join(get_args(Variance))}, got {variance!r}")
        if num_steps is not None and not 1 <= num_steps <= total:
            raise ValueError(f"sampler.num_steps must lie between 1 and schedule.steps={total}, got {num_steps}")
        self.process = process
        self.variance = variance
        self.total = total
        self.num_steps = num_steps or total

    def __len__(self) -> int:
        return self.num_steps

    def steps(self) -> Iterator[tuple[float, float]]:
        return trailing(self.total, self.num_steps)

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z_t = state.z
        posterior = self.process.posterior(z_t, denoiser(z_t, t).x0, t, s)
        std = posterior.std
        if self.variance == "beta":
            std = per_sample((self.process.step_variance(t, s) * (s > 0)).sqrt(), z_t)
        return State(posterior.mean + std * noise.normal(z_t.shape[1:]).to(z_t), s)
