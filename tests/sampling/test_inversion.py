"""Data to noise and back again, with the sampler's own steps."""

import math

import pytest
import torch

from ancestral_sampler import ancestral
from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, IPNDM, DPMSolverPP2M, Euler, Heun, Inversion, UniPC, draw
from diffusion_lab.sampling.grids import Karras, Leading, Linspace, Quadratic, Trailing, UniformLogSNR
from diffusion_lab.schedules import LinearSchedule
from grid_schedules import Exploding, Flow
from oracles.gaussian_ode import VARIANCE, ExactDenoiser, inversion_errors, inversion_orders, scale


def of_order(sampler, order):
    return lambda process, grid, num_steps: sampler(process, grid, num_steps, order)


@pytest.mark.parametrize(
    ("make", "order"),
    [
        (DDIM, 1),
        (Euler, 1),
        (Heun, 2),
        (DPMSolverPP2M, 2),
        (of_order(UniPC, 1), 2),  # its corrector adds one
        (of_order(UniPC, 2), 3),
        (of_order(UniPC, 3), 4),
        (of_order(IPNDM, 1), 1),
        (of_order(IPNDM, 2), 2),
    ],
)
def test_the_error_of_noise_falls_with_the_order_of_the_solver_and_that_of_the_data_at_least(make, order):
    noise, data = inversion_orders(make)
    assert noise == pytest.approx(order, abs=0.2)
    assert data > order - 0.2


def test_of_high_order_it_still_falls_as_its_first_steps_allow():
    assert all(order > 2 for order in inversion_orders(IPNDM))


@pytest.mark.parametrize(("make", "most"), [(UniPC, 0.05), (DPMSolverPP2M, 0.1), (Heun, 0.15), (IPNDM, 0.25)])
def test_a_few_steps_are_enough(make, most):
    """Noise has the standard deviation 2 here: DDIM is wrong by 0.38."""
    assert max(inversion_errors(make, 20)) < most


def test_of_order_1_the_multistep_solvers_are_ddim():
    assert inversion_errors(of_order(IPNDM, 1), 20) == pytest.approx(inversion_errors(DDIM, 20), rel=1e-9)


#: With each kind of end: clean data and no signal at all, noise that is left and signal that is left, both kinds.
SCHEDULES = {"flow": Flow(), "exploding": Exploding(), "terminal": LinearSchedule(200, zero_terminal_snr=True)}


@pytest.mark.parametrize("grid", [Trailing, Leading, Linspace, Quadratic, UniformLogSNR, Karras])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_from_any_grid_with_any_kind_of_end_the_way_leads_there_and_back(grid, schedule):
    schedule = SCHEDULES[schedule]
    process, noise = Gaussian(schedule), Noise(torch.arange(2), 0, "x")
    data, denoiser = torch.tensor([[0.5], [-1.0]], dtype=torch.float64), ExactDenoiser(process)
    for make in (DDIM, Heun, DPMSolverPP2M, UniPC, IPNDM):
        sampler = make(process, grid(schedule), 40)
        found = draw(denoiser, Inversion(process, sampler), data, noise)
        exact = data / math.sqrt(VARIANCE) * scale(schedule, sampler.steps[0][0])
        within = 0.2 if make is DDIM else 0.07
        assert torch.allclose(found, exact, rtol=within)
        assert torch.allclose(draw(denoiser, sampler, found, noise), data, rtol=within)


def test_the_network_is_asked_only_at_times_at_which_sampling_asks_it_too():
    process = Gaussian(LinearSchedule(200))
    sampler, asked = DPMSolverPP2M(process, Trailing(process.schedule), 5), []

    def denoiser(z, t, condition=None):
        asked.append(float(t[0]))
        return ExactDenoiser(process)(z, t)

    draw(denoiser, Inversion(process, sampler), torch.ones(1, 1), Noise(torch.arange(1), 0))
    assert asked == [0.2, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    "sampler",
    [
        ancestral(Gaussian(LinearSchedule()), num_steps=5),
        DDIM(Gaussian(Flow()), Trailing(Flow()), 5, eta=0.1),
        Heun(Gaussian(Flow()), Trailing(Flow()), 5, churn=1.0),
        DPMSolverPP2M(Gaussian(Flow()), Trailing(Flow()), 5, stochastic=True),
    ],
)
def test_a_sampler_that_adds_noise_is_refused_by_name(sampler):
    with pytest.raises(ValueError, match=rf"sampler={type(sampler).__name__} adds noise .* cannot run backwards"):
        Inversion(Gaussian(Flow()), sampler)


def test_its_first_step_asks_for_the_noise_in_scaled_data():
    """At t = 1/2 of the linear path that is z0/2, and the exact eps of data with variance v is 2 z/(1 + v)."""
    process, z0 = Gaussian(Flow()), torch.tensor([[1.0], [-3.0]], dtype=torch.float64)
    sampler, noise = DDIM(process, Trailing(process.schedule), 2), Noise(torch.arange(2), 0)
    inversion = Inversion(process, sampler)
    assert inversion.steps == [(0.0, 0.5), (0.5, 1.0)]
    inversion.steps = inversion.steps[:1]
    found = draw(ExactDenoiser(process), inversion, z0, noise)
    torch.testing.assert_close(found, z0 / 2 + z0 / (1 + VARIANCE) / 2)
