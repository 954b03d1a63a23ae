"""The probability-flow ODE of data N(0, 0.25) in closed form: z scales with √(alpha² 0.25 + sigma²)."""

import math
from itertools import pairwise

import torch

from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian, per_sample
from diffusion_lab.sampling import Inversion, draw
from diffusion_lab.sampling.grids import Trailing
from grid_schedules import Preserving

VARIANCE = 0.25


class ExactDenoiser:
    """E[x0 | z] of data N(0, 0.25); counts its evaluations."""

    def __init__(self, process):
        self.process, self.evaluations = process, 0

    def __call__(self, z, t, condition=None):
        self.evaluations += 1
        alpha, sigma = (per_sample(of(t), z) for of in (self.process.schedule.alpha, self.process.schedule.sigma))
        x0 = alpha * VARIANCE * z / (alpha**2 * VARIANCE + sigma**2)
        return GaussianPrediction.of(self.process, z, t, x0, "x0")


def scale(schedule, t):
    t = torch.tensor([t], dtype=torch.float64)
    return float((schedule.alpha(t) ** 2 * VARIANCE + schedule.sigma(t) ** 2).sqrt())


def error(make, num_steps, schedule=None):
    """The absolute error at t = 0 from z = 1 at t = 1.

    The steps are even in lambda = log(alpha/sigma), by default from −5 to 5 where variance is preserved.

    Args:
        make: (process, grid, num_steps) → sampler.
        num_steps: how many.
        schedule: in continuous time; lambda need not be finite at its ends.
    """
    schedule = schedule or Preserving(10.0, -10.0)
    process = Gaussian(schedule)
    sampler = make(process, Trailing(schedule), num_steps)
    sampler.steps = [(n / num_steps, (n - 1) / num_steps) for n in range(num_steps, 0, -1)]  # to t = 0, clean or not
    start = torch.ones(1, 1, dtype=torch.float64)
    end = draw(ExactDenoiser(process), sampler, start, Noise(torch.arange(1), 0, "x"))
    return abs(float(end) - scale(schedule, 0.0) / scale(schedule, 1.0))


def orders(make, counts=(40, 80, 160), schedule=None):
    """The order of convergence between each number of steps and its double."""
    errors = [error(make, count, schedule) for count in counts]
    return [math.log2(a / b) for a, b in pairwise(errors)]


def inversion_errors(make, num_steps):
    """The errors of noise from z = 1, and of the data that is drawn from that noise.

    The steps are even in lambda from 12 to −5 where variance is preserved; that from or to clean data is exact to 1e-9.
    """
    schedule = Preserving(24.0, -10.0)
    process, noise = Gaussian(schedule), Noise(torch.arange(1), 0, "x")
    sampler, denoiser = make(process, Trailing(schedule), num_steps), ExactDenoiser(process)
    sampler.steps = [*((n / num_steps, (n - 1) / num_steps) for n in range(num_steps, 0, -1)), (0.0, 0.0)]
    found = draw(denoiser, Inversion(process, sampler), torch.ones(1, 1, dtype=torch.float64), noise)
    again = draw(denoiser, sampler, found, noise)
    return abs(float(found) - scale(schedule, 1.0) / math.sqrt(VARIANCE)), abs(float(again) - 1)


def inversion_orders(make, counts=(80, 160)):
    """The orders of convergence of noise, and of data by way of noise, from a number of steps to another."""
    (noise, data), (finer_noise, finer_data) = (inversion_errors(make, count) for count in counts)
    return math.log2(noise / finer_noise), math.log2(data / finer_data)


def evaluations(make, num_steps, schedule, grid):
    """How often the network is evaluated in a draw."""
    process = Gaussian(schedule)
    denoiser = ExactDenoiser(process)
    draw(denoiser, make(process, grid(schedule), num_steps), torch.ones(1, 1), Noise(torch.arange(1), 0, "x"))
    return denoiser.evaluations
