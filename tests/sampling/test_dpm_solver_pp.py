import math

import pytest
import torch

from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DPMSolverPP2M, draw
from diffusion_lab.sampling.grids import Karras, Trailing, UniformLogSNR
from diffusion_lab.schedules import LinearSchedule
from grid_schedules import Exploding, Flow, Preserving
from oracles.gaussian_ode import VARIANCE, ExactDenoiser, error, evaluations, orders


def test_its_error_is_that_of_the_closed_form_and_falls_with_order_2():
    assert [error(DPMSolverPP2M, n) for n in (20, 40, 80)] == pytest.approx([7.06e-3, 1.91e-3, 4.85e-4], rel=3e-3)
    assert orders(DPMSolverPP2M) == pytest.approx([2, 2], abs=0.03)


def test_where_the_log_snr_is_infinite_it_falls_back_to_first_order():
    assert error(DPMSolverPP2M, 200, Flow()) < 2e-3


@pytest.mark.parametrize("schedule", [Exploding(), Preserving(10.0, -10.0), Flow()])
def test_the_samples_of_its_sde_have_the_distribution_of_the_data(schedule):
    process, noise = Gaussian(schedule), Noise(torch.arange(20_000), 0, "sde")
    start = process.prior((1,), noise.at("prior")).double()
    sampler = DPMSolverPP2M(process, UniformLogSNR(schedule), 80, stochastic=True)
    samples = draw(ExactDenoiser(process), sampler, start, noise)
    assert float(samples.std()) == pytest.approx(math.sqrt(VARIANCE), rel=0.03)


@pytest.mark.parametrize("stochastic", [False, True])
def test_it_evaluates_the_network_once_for_each_step(stochastic):
    def make(process, grid, num_steps):
        return DPMSolverPP2M(process, grid, num_steps, stochastic)

    assert evaluations(make, 7, LinearSchedule(), Trailing) == 7
    assert evaluations(make, 7, Exploding(), Karras) == 7
