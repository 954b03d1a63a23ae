from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from diffusion_lab.noise import Noise
from diffusion_lab.parameterizations import Denoiser, Eps, GaussianPrediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, Inversion, State, draw
from diffusion_lab.sampling.deis import DEIS
from diffusion_lab.sampling.grids import Karras, Leading, Trailing
from diffusion_lab.schedules import CosineSchedule, DiscreteSchedule, LinearSchedule
from grid_schedules import Exploding, Flow, Preserving
from oracles.gaussian_ode import (
    ExactDenoiser,
    error,
    evaluations,
    inversion_errors,
    inversion_orders,
    orders,
    scale,
)


def of_order(order):
    return lambda process, grid, num_steps: DEIS(process, grid, num_steps, order)


@pytest.mark.parametrize("schedule", [None, Flow(), Exploding()])
def test_of_order_1_it_is_ddim(schedule):
    assert error(of_order(1), 20, schedule) == pytest.approx(error(DDIM, 20, schedule), abs=1e-12)


@pytest.mark.parametrize("order", [2, 3])
def test_its_error_falls_with_its_order(order):
    """From pure noise to a log-SNR of 2, where the first steps, of lower order, leave little behind."""
    assert orders(of_order(order), (80, 160), Preserving(2.0, -10.0)) == pytest.approx([order], abs=0.2)


def test_what_the_first_steps_leave_behind_falls_with_order_2():
    """Where the draw begins with some signal, so that the first step counts."""
    assert orders(of_order(3), (80, 160), Preserving(10.0, -2.0)) == pytest.approx([2], abs=0.1)


def level(schedule, t):
    t = torch.tensor([t], dtype=torch.float64)
    return float(schedule.sigma(t) / schedule.alpha(t))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("times", [(0.9, 0.66, 0.5, 0.0), (0.3, 0.25, 0.22, 0.19), (0.21, 0.4, 0.41, 0.93)])
@pytest.mark.parametrize("schedule", [LinearSchedule(50), CosineSchedule(50), Flow(), Preserving()])
def test_noise_that_is_a_polynomial_in_t_below_its_order_is_integrated_exactly(schedule, times, degree, order):
    """∫ t^degree dr by parts, with QUADPACK; the slopes before the last step are exact. Times may rise, too."""
    process = Gaussian(schedule)
    sampler = DEIS(process, Trailing(schedule), 10, order)

    def slope(z, t):
        return GaussianPrediction.of(process, z, t, t[:, None] ** degree, "eps")

    state, t = State(torch.zeros(1, 1, dtype=torch.float64)), torch.tensor(times, dtype=torch.float64)[:, None]
    for here, there in pairwise(t):
        state = sampler.step(State(torch.zeros(1, 1, dtype=torch.float64), state.history), here, there, slope, None)
    start, end = times[-2:]
    by_parts = end**degree * level(schedule, end) - start**degree * level(schedule, start)
    if degree:
        rows = [n / 50 for n in range(51) if min(start, end) < n / 50 < max(start, end)]
        by_parts -= quad(
            lambda tau: degree * tau ** (degree - 1) * level(schedule, tau), start, end, points=rows, limit=200
        )[0]
    found = float(state.z / schedule.alpha(t[-1]))
    assert (abs(found - by_parts) < 1e-8 * level(schedule, max(start, end))) == (degree < order)


def test_samples_at_different_times_do_not_mix():
    process = Gaussian(LinearSchedule(50))
    sampler = DEIS(process, Trailing(process.schedule), 10)
    times = torch.tensor([[0.9, 0.5, 0.9], [0.8, 0.3, 0.8], [0.6, 0.2, 0.6], [0.5, 0.0, 0.5]], dtype=torch.float64)
    together = sampler._weights(times[3], times[:3].flip(0))
    for sample in range(3):
        alone = sampler._weights(times[3, sample : sample + 1], times[:3, sample : sample + 1].flip(0))
        assert torch.equal(together[:, sample : sample + 1], alone)
    assert not torch.allclose(together[:, 0], together[:, 1])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_it_is_that_of_diffusers_where_t_is_linear_in_log_r(order):
    """Their polynomial is in log r; with our betas at their times, all steps but the last, where r = 0."""
    diffusers = pytest.importorskip("diffusers")
    steps, shape = 1000, (3, 1, 4, 4)
    log_snr = torch.linspace(10, -10, steps, dtype=torch.float64)
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), torch.sigmoid(log_snr)])
    schedule = DiscreteSchedule(1 - alpha_bar[1:] / alpha_bar[:-1])
    scheduler = diffusers.DEISMultistepScheduler(
        trained_betas=schedule.betas.numpy().astype(np.float64), solver_order=order, lower_order_final=False
    )
    scheduler.set_timesteps(8)

    def predicted_noise(z, index, labels=None):
        return torch.sin(2 * z) * 0.9 + 0.05 * (index / steps).reshape(-1, 1, 1, 1).to(z)

    start = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = [start]
    for index in scheduler.timesteps:
        noise = predicted_noise(expected[-1], index.double().expand(3))
        expected.append(scheduler.step(noise, index, expected[-1]).prev_sample)
    sampler = DEIS(Gaussian(schedule), Trailing(schedule), 8, order)
    sampler.steps = list(pairwise([(int(index) + 1) / steps for index in scheduler.timesteps] + [0.0]))
    found = []
    denoiser = Denoiser(predicted_noise, Eps(sampler.process))
    draw(denoiser, sampler, start, Noise(torch.arange(3), 0), on_step=lambda step: found.append(step.z))
    torch.testing.assert_close(
        torch.stack(found[:-1]), torch.stack(expected[1:-1]), rtol=1e-3, atol=1e-3
    )  # theirs are float32 inside


def test_where_the_log_snr_is_infinite_it_needs_no_more_steps():
    """At both ends of the linear path, and with the last row of a schedule of T steps without any signal."""
    assert error(DEIS, 20, Flow()) < 5e-4
    assert error(DEIS, 40, LinearSchedule(1000, zero_terminal_snr=True)) < 1e-3


@pytest.mark.parametrize("order", [1, 2])
def test_backwards_its_error_falls_with_its_order_too(order):
    noise, data = inversion_orders(of_order(order))
    assert noise == pytest.approx(order, abs=0.1)
    assert data > order - 0.1


def test_backwards_a_few_steps_are_enough():
    """Noise has the standard deviation 2 here: DDIM is wrong by 0.38."""
    assert max(inversion_errors(DEIS, 20)) < 0.05


@pytest.mark.parametrize("grid", [Trailing, Leading, Karras])
def test_backwards_it_leads_to_where_no_signal_is_left_and_back(grid):
    process, noise = Gaussian(Flow()), Noise(torch.arange(1), 0, "x")
    sampler, denoiser = DEIS(process, grid(Flow()), 40), ExactDenoiser(process)
    found = draw(denoiser, Inversion(process, sampler), torch.full((1, 1), 0.5, dtype=torch.float64), noise)
    assert float(found) == pytest.approx(scale(Flow(), sampler.steps[0][0]), abs=5e-3)
    assert float(draw(denoiser, sampler, found, noise)) == pytest.approx(0.5, abs=5e-3)


def test_it_evaluates_the_network_once_for_each_step():
    assert evaluations(DEIS, 7, LinearSchedule(), Trailing) == 7
    assert evaluations(DEIS, 7, Exploding(), Karras) == 7


@pytest.mark.parametrize("order", [0, 4])
def test_the_order_lies_between_1_and_3(order):
    with pytest.raises(ValueError, match=rf"sampler\.order must lie between 1 and 3, got {order}"):
        DEIS(Gaussian(Flow()), Trailing(Flow()), 5, order)
