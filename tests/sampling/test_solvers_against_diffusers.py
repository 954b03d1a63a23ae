"""Solvers of the library diffusers, with our betas at the times that it chooses."""

from itertools import pairwise

import pytest
import torch

from diffusion_lab.codecs import Pixels
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Eps, Velocity
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, ClipX0, DPMSolverPP2M, Euler, Heun, UniPC, draw
from diffusion_lab.sampling.grids import Leading, Trailing
from diffusion_lab.schedules import CosineSchedule, FlowSchedule, LinearSchedule

diffusers = pytest.importorskip("diffusers")

STEPS = 1000
SHAPE = (3, 1, 4, 4)
PROCESSES = {"linear": Gaussian(LinearSchedule(STEPS)), "cosine": Gaussian(CosineSchedule(STEPS))}


def predicted_noise(z, index, labels=None):
    return torch.sin(2 * z) * 0.9 + 0.05 * (index / STEPS).reshape(-1, *(1,) * (z.ndim - 1)).to(z)


def start():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def theirs(scheduler, num_steps, **options):
    """The states after each step."""
    scheduler.set_timesteps(num_steps)
    states = [start()]
    for index in scheduler.timesteps:
        noise = predicted_noise(states[-1], index.double().expand(SHAPE[0]))
        states.append(scheduler.step(noise, index, states[-1], **options).prev_sample)
    return torch.stack(states[1:])


def ours(sampler, process, clip=False, parameterization=Eps):
    denoiser = Denoiser(predicted_noise, parameterization(process))
    if clip:
        denoiser = ClipX0(Pixels())(denoiser)
    states = []
    draw(denoiser, sampler, start(), Noise(torch.arange(SHAPE[0]), 0), on_step=lambda step: states.append(step.z))
    return torch.stack(states)


@pytest.mark.parametrize("schedule", PROCESSES)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(("grid", "spacing"), [(Leading, "leading"), (Trailing, "trailing")])
@pytest.mark.parametrize("num_steps", [5, 50])
def test_ddim(schedule, clip, grid, spacing, num_steps):
    process = PROCESSES[schedule]
    scheduler = diffusers.DDIMScheduler(
        trained_betas=process.schedule.betas.numpy(),
        clip_sample=clip,
        timestep_spacing=spacing,
        set_alpha_to_one=True,
    )
    scheduler.alphas_cumprod = process.schedule.alpha_bar[1:]  # theirs is float32
    sampler = DDIM(process, grid(process.schedule), num_steps)
    expected = theirs(scheduler, num_steps, use_clipped_model_output=clip)
    assert torch.allclose(ours(sampler, process, clip), expected, rtol=1e-5, atol=1e-6)


def at_their_times(sampler, scheduler, num_steps):
    scheduler.set_timesteps(num_steps)
    times = [(int(index) + 1) / STEPS for index in scheduler.timesteps] + [0.0]
    sampler.steps = list(pairwise(times))
    return sampler


@pytest.mark.parametrize("num_steps", [6, 20])
@pytest.mark.parametrize("schedule", PROCESSES)
def test_dpm_solver_pp_2m(schedule, num_steps):
    process = PROCESSES[schedule]
    scheduler = diffusers.DPMSolverMultistepScheduler(
        trained_betas=process.schedule.betas.numpy(), algorithm_type="dpmsolver++", solver_order=2
    )
    sampler = at_their_times(DPMSolverPP2M(process, Trailing(process.schedule), num_steps), scheduler, num_steps)
    expected = theirs(scheduler, num_steps)
    assert torch.allclose(ours(sampler, process), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("num_steps", [6, 20])
@pytest.mark.parametrize("scale", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc(scale, order, num_steps):
    process = PROCESSES["linear"]
    scheduler = diffusers.UniPCMultistepScheduler(
        trained_betas=process.schedule.betas.numpy(), solver_order=order, solver_type=scale
    )
    make = UniPC(process, Trailing(process.schedule), num_steps, order, scale)
    sampler = at_their_times(make, scheduler, num_steps)
    # They lower the order of the last steps, and their bh1 ends in 0 · ∞ at sigma = 0.
    same = num_steps - (2 if order == 3 else scale == "bh1")
    expected = theirs(scheduler, num_steps)[:same]
    assert torch.allclose(ours(sampler, process)[:same], expected, rtol=2e-3, atol=2e-3)


def theirs_in_sigma(scheduler, process, num_steps):
    """The states z after each step of a scheduler whose state is z/alpha."""
    scheduler.alphas_cumprod = process.schedule.alpha_bar[1:]  # theirs is float32
    scheduler.set_timesteps(num_steps)
    alphas = [*process.schedule.alpha_bar[1:][scheduler.timesteps.long()].sqrt(), 1.0]
    x, states = start() / alphas[0], []
    for index, alpha in zip(scheduler.timesteps, alphas[1:], strict=True):
        noise = predicted_noise(scheduler.scale_model_input(x, index), index.double().expand(SHAPE[0]))
        x = scheduler.step(noise, index, x).prev_sample
        states.append(alpha * x)
    return torch.stack(states)


@pytest.mark.parametrize("schedule", PROCESSES)
@pytest.mark.parametrize(("grid", "spacing"), [(Leading, "leading"), (Trailing, "trailing")])
@pytest.mark.parametrize("num_steps", [5, 50])
def test_their_euler_is_ddim(schedule, grid, spacing, num_steps):
    """Theirs is Euler's method for z/alpha in sigma/alpha, which is DDIM with eta = 0, and ours is that in time.

    Their spacing linspace is left out: between indices they interpolate sigma/alpha, and we its logarithm. They start
    their draws (`init_noise_sigma`) with trailing spacing from the standard deviation sigma(1), where ours is 1.
    """
    process = PROCESSES[schedule]
    scheduler = diffusers.EulerDiscreteScheduler(trained_betas=process.schedule.betas.numpy(), timestep_spacing=spacing)
    expected = theirs_in_sigma(scheduler, process, num_steps)
    assert torch.allclose(
        ours(DDIM(process, grid(process.schedule), num_steps), process), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("num_steps", [5, 50])
def test_euler_on_the_flow_path(num_steps):
    """Their times end at 1/T, and a step of their own leads from there to 0; the others are even in between."""
    process = Gaussian(FlowSchedule())
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=STEPS)
    expected = theirs(scheduler, num_steps)
    sampler = Euler(process, Trailing(process.schedule), num_steps)
    sampler.steps = list(pairwise(scheduler.sigmas.tolist()))
    assert torch.allclose(ours(sampler, process, parameterization=Velocity), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("grid", "spacing"), [(Leading, "leading"), (Trailing, "trailing")])
@pytest.mark.parametrize("num_steps", [5, 50])
def test_heun(grid, spacing, num_steps):
    """With the linear schedule, which starts at sigma/alpha = 157."""
    process = PROCESSES["linear"]
    scheduler = diffusers.HeunDiscreteScheduler(trained_betas=process.schedule.betas.numpy(), timestep_spacing=spacing)
    expected = theirs_in_sigma(scheduler, process, num_steps)
    after_each_step = [*range(1, len(expected) - 1, 2), -1]  # the others are guesses at the first order
    found = ours(Heun(process, grid(process.schedule), num_steps), process)
    assert torch.allclose(found, expected[after_each_step], rtol=1e-4, atol=1e-4)


def test_their_heun_keeps_noise_where_the_schedule_starts_without_signal(monkeypatch):
    """From the sigma/alpha = 20,000 of the cosine schedule they take a step of second order, and we one of first order.

    For data N(0, 0.25) and its exact denoiser, the state at the end is half that at the start.
    """
    process = PROCESSES["cosine"]

    def exact_noise(z, index, labels=None):
        alpha_bar = process.schedule.alpha_bar[1:][index.round().long()].reshape(-1, 1, 1, 1)
        return (1 - alpha_bar).sqrt() * z / (alpha_bar * 0.25 + 1 - alpha_bar)

    monkeypatch.setitem(globals(), "predicted_noise", exact_noise)
    scheduler = diffusers.HeunDiscreteScheduler(
        trained_betas=process.schedule.betas.numpy(), timestep_spacing="trailing"
    )
    by_them = theirs_in_sigma(scheduler, process, 10)[-1] / start()
    by_us = ours(Heun(process, Trailing(process.schedule), 10), process)[-1] / start()
    assert by_them.min() > 5
    assert by_us.sub(0.5).abs().max() < 0.02
