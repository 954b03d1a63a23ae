import pytest

from diffusion_lab.processes import Gaussian
from diffusion_lab.sampling import UniPC
from diffusion_lab.sampling.grids import Karras, Trailing
from diffusion_lab.schedules import LinearSchedule
from grid_schedules import Exploding, Flow
from oracles.gaussian_ode import error, evaluations, orders


@pytest.mark.parametrize("scale", ["bh1", "bh2"])
@pytest.mark.parametrize(("order", "expected"), [(1, 2), (2, 3), (3, 4)])
def test_with_its_corrector_its_error_falls_with_an_order_more_than_its_own(order, expected, scale):
    """Zhao et al. 2023, theorem 3.1; the start of lower order shows for the highest."""

    def make(process, grid, num_steps):
        return UniPC(process, grid, num_steps, order, scale)

    assert orders(make, (80, 160, 320))[-1] == pytest.approx(expected, abs=0.25)


def test_it_needs_few_steps():
    assert error(UniPC, 20) < 2e-4


def test_where_the_log_snr_is_infinite_it_falls_back_to_first_order():
    assert error(UniPC, 200, Flow()) < 1e-3


def test_it_evaluates_the_network_once_for_each_step():
    assert evaluations(UniPC, 7, LinearSchedule(), Trailing) == 7
    assert evaluations(UniPC, 7, Exploding(), Karras) == 7


@pytest.mark.parametrize("order", [0, 4])
def test_the_order_lies_between_1_and_3(order):
    with pytest.raises(ValueError, match=rf"sampler\.order must lie between 1 and 3, got {order}"):
        UniPC(Gaussian(Flow()), Trailing(Flow()), 5, order)
