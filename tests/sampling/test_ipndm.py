import pytest
import torch

from diffusion_lab.parameterizations import GaussianPrediction
from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, IPNDM, State
from diffusion_lab.sampling.grids import Karras, Trailing
from diffusion_lab.schedules import LinearSchedule
from grid_schedules import Exploding, Flow
from oracles.gaussian_ode import error, evaluations, orders


def of_order(order):
    return lambda process, grid, num_steps: IPNDM(process, grid, num_steps, order)


def test_of_order_1_it_is_ddim():
    assert error(of_order(1), 20) == pytest.approx(error(DDIM, 20), abs=1e-12)
    assert error(of_order(1), 20, Flow()) == pytest.approx(error(DDIM, 20, Flow()), abs=1e-12)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_its_error_falls_with_order_2_as_its_first_steps_allow(order):
    assert all(found > 1.9 for found in orders(of_order(order), (80, 160, 320)))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize(("variable", "levels"), [(False, (4, 3, 2, 1)), (True, (4, 3, 2, 1)), (True, (90, 9, 5, 1))])
def test_it_integrates_polynomials_below_its_order_exactly(order, degree, variable, levels):
    """dz/dr = r^degree, from r = 1 to 0, with the slopes before it exact."""
    process = Gaussian(Exploding())

    def slope(z, t):
        return GaussianPrediction.of(process, z, t, process.schedule.sigma(t)[:, None] ** degree, "eps")

    sampler = IPNDM(process, Karras(process.schedule), 10, order, variable)
    times = process.schedule.time(-2 * torch.tensor([*levels, 1e-150], dtype=torch.float64).log())
    state = State(torch.zeros(1, 1, dtype=torch.float64))
    for n in range(4):
        before = State(torch.zeros(1, 1, dtype=torch.float64), state.history)
        state = sampler.step(before, times[n : n + 1], times[n + 1 : n + 2], slope, None)
    exact = -1 / (degree + 1)  # the integral from 1 to 0
    assert (abs(float(state.z) - exact) < 1e-8) == (degree < order)


def test_it_evaluates_the_network_once_for_each_step():
    assert evaluations(IPNDM, 7, LinearSchedule(), Trailing) == 7
    assert evaluations(IPNDM, 7, Exploding(), Karras) == 7


@pytest.mark.parametrize("order", [0, 5])
def test_the_order_lies_between_1_and_4(order):
    with pytest.raises(ValueError, match=rf"sampler\.order must lie between 1 and 4, got {order}"):
        IPNDM(Gaussian(Flow()), Trailing(Flow()), 5, order)
