"""The DDPM scheduler of the library diffusers, step by step, with our betas and the same noise."""

import pytest
import torch

from ancestral_sampler import ancestral
from diffusion_lab.codecs import Pixels
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import ClipX0, State
from diffusion_lab.schedules import CosineSchedule, LinearSchedule

ddpm = pytest.importorskip("diffusers.schedulers.scheduling_ddpm")

STEPS = 1000
SHAPE = (1, 3, 3)
SCHEDULES = {"linear": LinearSchedule(STEPS), "cosine": CosineSchedule(STEPS)}
VARIANCES = {"beta": "fixed_large", "beta_tilde": "fixed_small"}
TIMESTEPS = [*range(0, 20), *range(20, 980, 37), *range(980, 1000)]


def predicted_noise(z, index, labels=None):
    return torch.sin(2 * z) + 0.1


@pytest.fixture(params=["linear", "cosine"])
def process(request):
    return Gaussian(SCHEDULES[request.param])


@pytest.fixture(params=[False, True], ids=["unclipped", "clipped"])
def clip(request):
    return request.param


def their_scheduler(process, variance, clip):
    betas = process.schedule.betas
    scheduler = ddpm.DDPMScheduler(
        num_train_timesteps=STEPS,
        trained_betas=betas.numpy(),
        variance_type=VARIANCES[variance],
        clip_sample=clip,
        timestep_spacing="trailing",
    )
    # It keeps its tables in float32, whose rounding would hide small errors of ours.
    scheduler.alphas_cumprod = (1 - betas).cumprod(0)
    return scheduler


def compare(monkeypatch, process, variance, clip, scheduler, pairs, index_of):
    denoiser = Denoiser(predicted_noise, Eps(process))
    if clip:
        denoiser = ClipX0(Pixels())(denoiser)
    sampler = ancestral(process, variance)
    for number, (t, s) in enumerate(pairs):
        noise = Noise(torch.arange(2), 0, number)
        if s == 0 and t > 1 / STEPS:
            noise = Silence()  # On respaced grids they add noise at the last step, and we never do.
        eps = noise.normal(SHAPE).double()
        monkeypatch.setattr(ddpm, "randn_tensor", lambda shape, eps=eps, **_: eps)
        z = 1.5 * Noise(torch.arange(2), 1, number).normal(SHAPE).double()
        theirs = scheduler.step(predicted_noise(z, None), index_of(t), z).prev_sample
        times = (torch.full((2,), time, dtype=torch.float64) for time in (t, s))
        ours = sampler.step(State(z), *times, denoiser, noise).z
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, msg=lambda m, t=t, s=s: f"{t} to {s}: {m}")


class Silence:
    def normal(self, shape):
        return torch.zeros(2, *shape)


def index_of(t):
    return round(t * STEPS) - 1


@pytest.mark.parametrize("variance", VARIANCES)
def test_single_steps_agree(monkeypatch, process, variance, clip):
    """At index 0, the last step, neither adds the noise that it is offered."""
    scheduler = their_scheduler(process, variance, clip)
    pairs = [((i + 1) / STEPS, i / STEPS) for i in TIMESTEPS]
    compare(monkeypatch, process, variance, clip, scheduler, pairs, index_of)


@pytest.mark.parametrize("num_steps", [10, 200])
@pytest.mark.parametrize("variance", VARIANCES)
def test_respaced_steps_agree(monkeypatch, process, variance, clip, num_steps):
    scheduler = their_scheduler(process, variance, clip)
    scheduler.set_timesteps(num_steps)
    pairs = ancestral(process, variance, num_steps).steps
    assert [index_of(t) for t, _ in pairs] == scheduler.timesteps.tolist()
    compare(monkeypatch, process, variance, clip, scheduler, pairs, index_of)


def test_noising_agrees(process):
    scheduler = their_scheduler(process, "beta", clip=False)
    index = torch.tensor(TIMESTEPS)
    noise = Noise(index, 0)
    z0, eps = noise.at("data").normal(SHAPE).double(), noise.at("eps").normal(SHAPE).double()
    ours = process.mix(z0, (index + 1).double() / STEPS, eps).z_t
    torch.testing.assert_close(ours, scheduler.add_noise(z0, eps, index), rtol=1e-11, atol=1e-11)
