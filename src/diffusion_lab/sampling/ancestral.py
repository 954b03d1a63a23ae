"""Ancestral sampling (Ho et al. 2020, algorithm 2)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from diffusion_lab.distributions import Normal
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import LearnedVariance, Parameterization
from diffusion_lab.processes import Gaussian, Process, per_sample
from diffusion_lab.sampling.base import DenoiserFn, Sampler, State
from diffusion_lab.sampling.grids import TimeGrid

Variance = Literal["beta", "beta_tilde", "learned"]

#: A first step that multiplies the state by more than this carries errors of the network into the thousands.
_LARGE_FACTOR = 10

#: How far alpha² + sigma² may be from 1 where variance is said to be preserved.
_PRESERVED = 1e-3


class Ancestral(Sampler):
    """Each step draws from the posterior of the predicted data.

    Args:
        process: any process; ``variance`` is for a Gaussian one.
        variance: ``beta`` for σ² = β (the upper bound, right for standard normal data where variance is preserved) or
            ``beta_tilde`` for σ² = β̃ (the lower bound, right for data that is one point; DDPM section 3.2); or
            ``learned`` for that of the prediction (Nichol & Dhariwal 2021, eq. 15).
        grid: the times of the steps.
        num_steps: how many steps; all T of the schedule where None.
        parameterization: has a learned variance, where that is to be used.

    A step to where sigma = 0 adds no noise.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(
        self,
        process: Process,
        grid: TimeGrid,
        variance: Variance = "beta_tilde",
        num_steps: int | None = None,
        parameterization: Parameterization | None = None,
    ) -> None:
        if variance not in get_args(Variance):
            raise ValueError(f"sampler.variance must be one of {', '.join(get_args(Variance))}, got {variance!r}")
        if variance == "beta" and not isinstance(process, Gaussian):
            raise ValueError("sampler.variance=beta needs a Gaussian process; take beta_tilde, the posterior itself")
        if variance == "learned" and not isinstance(parameterization, LearnedVariance):
            raise ValueError("sampler.variance=learned needs parameterization=learned_variance")
        count = process.schedule.steps if num_steps is None else num_steps
        if count is None:
            raise ValueError("sampler.num_steps must be given: the schedule has no steps of its own")
        super().__init__(grid.steps(count))
        self.process = process
        self.variance = variance

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z_t = state.z
        prediction = denoiser(z_t, t)
        posterior = self.process.posterior(z_t, prediction, t, s)
        if self.variance != "beta_tilde":
            assert isinstance(self.process, Gaussian)
            assert isinstance(posterior, Normal)
            if self.variance == "beta":
                std = per_sample(self.process.step_variance(t, s).sqrt(), z_t)
            else:
                std = (prediction.log_variance(self.process, t, s) / 2).exp()
            noisy = (self.process.schedule.sigma(s) > 0).double()
            posterior = Normal(posterior.mean, std * per_sample(noisy, z_t))
        return State(posterior.sample(noise))

    def warning(self, bounded: bool) -> str | None:
        """Return a line about σ² = β where it fails.

        It is the right variance for standard normal data where variance is preserved; elsewhere it is too large. And
        errors of the first step grow without bounds where much noise goes at once and nothing is clipped.
        """
        if self.variance != "beta" or not isinstance(self.process, Gaussian):
            return None
        schedule = self.process.schedule
        t, s = (torch.tensor(time, dtype=torch.float64) for time in self.steps[0])
        if abs(float(schedule.alpha(s) ** 2 + schedule.sigma(s) ** 2) - 1) > _PRESERVED:
            return (
                "sampler.variance=beta is too large where the schedule does not preserve variance, and "
                f"{type(schedule).__name__} does not: take sampler.variance=beta_tilde"
            )
        factor = float(schedule.alpha(s) / schedule.alpha(t))
        if bounded or factor < _LARGE_FACTOR:
            return None
        return (
            f"sampler.variance=beta multiplies the state by {factor:.3g} at its first step under this schedule, and "
            "diverges unless the predicted data is clipped: take clip=x0 or sampler.variance=beta_tilde"
        )
