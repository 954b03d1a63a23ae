"""DPM-Solver++(2M) and its stochastic form (Lu et al. 2022, algorithm 2 and appendix on SDE solvers)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling.base import DenoiserFn, State
from diffusion_lab.sampling.gaussian_sampler import GaussianSampler, where_finite
from diffusion_lab.sampling.grids import TimeGrid


class DPMSolverPP2M(GaussianSampler):
    """The two-step solver of second order in lambda = log(alpha/sigma).

    The data is extrapolated from this prediction and the one before, D = x0 + h/(2 h_before) (x0 − x0_before), where h
    is the step in lambda; at the first step, and where h or h_before is infinite, D = x0. One evaluation of the network
    for each step.

    Args:
        process: a Gaussian process; variance need not be preserved.
        grid: the times of the steps.
        num_steps: how many steps.
        stochastic: solve the reverse SDE instead of the ODE, with new noise at each step.
    """

    def __init__(self, process: Gaussian, grid: TimeGrid, num_steps: int = 20, stochastic: bool = False) -> None:
        super().__init__(process, grid, num_steps)
        self.stochastic = stochastic
        self.reversible = not stochastic

    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        z, x0 = state.z, denoiser(state.z, t).x0
        lambda_t = self.half_log_snr(t)
        h = self.half_log_snr(s) - lambda_t
        data = x0
        if state.history:
            extrapolation = where_finite(h / (2 * (lambda_t - state.history["lambda"])))
            data = x0 + per_sample(extrapolation, z) * (x0 - state.history["x0"])
        of_z, of_data = self.to_data(t, s)
        if self.stochastic:
            alpha_s, sigma_s = self.levels(s)
            of_z, of_data = of_z * torch.exp(-h), -alpha_s * torch.expm1(-2 * h)
        after = per_sample(of_z, z) * z + per_sample(of_data, z) * data
        if self.stochastic:
            std = sigma_s * (-torch.expm1(-2 * h)).sqrt()
            after = after + per_sample(std, z) * noise.normal(z.shape[1:]).to(z)
        return State(after, {"x0": x0, "lambda": lambda_t})
