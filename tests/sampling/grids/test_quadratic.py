import pytest

from diffusion_lab.sampling.grids import Quadratic
from diffusion_lab.schedules import LinearSchedule
from grid_schedules import Flow


def test_the_roots_of_the_times_are_even():
    assert [t**0.5 for t, _ in Quadratic(Flow()).steps(4)] == pytest.approx([1, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 10, 19, 20])
def test_rows_are_different_and_the_nearest_that_are(steps):
    rows = [round(t * 20) for t, _ in Quadratic(LinearSchedule(20, 1e-4, 2e-3)).steps(steps)]
    assert rows[0] == 20
    assert len(set(rows)) == steps
    if steps == 4:
        assert rows == [20, 11, 5, 1]
