import math

import pytest
import torch

from ancestral_sampler import ancestral
from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, State
from diffusion_lab.sampling.grids import Karras, Trailing
from diffusion_lab.schedules import CosineSchedule, LinearSchedule
from grid_schedules import Exploding, Flow, Preserving
from oracles.gaussian_ode import ExactDenoiser, error, evaluations, orders


def test_its_error_is_that_of_the_closed_form_and_falls_with_order_1():
    assert [error(DDIM, n) for n in (20, 40, 80)] == pytest.approx([0.0587, 0.0303, 0.0154], rel=3e-3)
    assert orders(DDIM) == pytest.approx([1, 1], abs=0.03)


@pytest.mark.parametrize("schedule", [Flow(), Exploding()])
def test_it_converges_for_other_schedules_too(schedule):
    assert error(DDIM, 400, schedule) < 0.02


@pytest.mark.parametrize("schedule", [LinearSchedule(50, 1e-4, 2e-2), CosineSchedule(50), Flow(), Preserving()])
def test_with_eta_1_it_is_ancestral_sampling(schedule):
    process = Gaussian(schedule)
    ours, theirs = DDIM(process, Trailing(schedule), 10, eta=1.0), ancestral(process, "beta_tilde", 10)
    z, denoiser = torch.randn(3, 2, 2, dtype=torch.float64), ExactDenoiser(process)
    for number, (t, s) in enumerate(ours.steps):
        here, there = (torch.full((3,), time, dtype=torch.float64) for time in (t, s))
        noise = Noise(torch.arange(3), 0, number)
        z_ours, z_theirs = (of.step(State(z), here, there, denoiser, noise).z for of in (ours, theirs))
        assert torch.allclose(z_ours, z_theirs, atol=1e-12)
        z = z_ours


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0, 5.0])
def test_the_noise_and_the_direction_together_have_the_variance_of_the_state(eta):
    """For data that is one point, z_s = alpha_s x0 + sigma_s · N(0, 1) at any eta."""
    process = Gaussian(LinearSchedule(50, 1e-4, 2e-2))
    sampler = DDIM(process, Trailing(process.schedule), 10, eta)
    t, s = (torch.full((20_000,), time, dtype=torch.float64) for time in sampler.steps[3])
    eps = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0)).double()
    z = process.mix(torch.zeros(20_000, 1).double(), t, eps).z_t

    def point(z, t):
        return GaussianPrediction.of(process, z, t, torch.zeros_like(z), "x0")

    after = sampler.step(State(z), t, s, point, Noise(torch.arange(20_000), 0, "x")).z
    assert float(after.std()) == pytest.approx(float(process.schedule.sigma(s)[0]), rel=0.02)


def test_it_evaluates_the_network_once_for_each_step():
    assert evaluations(DDIM, 7, LinearSchedule(), Trailing) == 7
    assert evaluations(DDIM, 7, Exploding(), Karras) == 7


@pytest.mark.parametrize("eta", [-1.0, math.inf])
def test_eta_is_a_number_that_is_not_negative(eta):
    with pytest.raises(ValueError, match=rf"sampler\.eta must be 0 or more and finite, got {eta}"):
        DDIM(Gaussian(Flow()), Trailing(Flow()), 5, eta)
