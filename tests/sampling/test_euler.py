import pytest
import torch

from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import DDIM, Euler
from diffusion_lab.sampling.grids import Trailing
from diffusion_lab.schedules import DiscreteSchedule
from grid_schedules import Flow
from oracles.gaussian_ode import error, evaluations, orders


def test_its_error_falls_with_order_1():
    assert orders(Euler) == pytest.approx([1, 1], abs=0.05)


@pytest.mark.parametrize("steps", [1, 4, 11])
def test_on_the_path_of_flow_matching_it_is_ddim(steps):
    assert error(Euler, steps, Flow()) == pytest.approx(error(DDIM, steps, Flow()), abs=1e-12)


def test_it_evaluates_the_network_once_for_each_step():
    assert evaluations(Euler, 7, Flow(), Trailing) == 7


def test_a_schedule_without_a_slope_is_refused():
    schedule = DiscreteSchedule(torch.tensor([0.1, 0.5, 1.0]))  # zero terminal SNR
    with pytest.raises(ValueError, match=r"sampler=euler needs a finite slope .* t = 1: take sampler=ddim"):
        Euler(Gaussian(schedule), Trailing(schedule), 3)
