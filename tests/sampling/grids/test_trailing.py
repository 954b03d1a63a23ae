from itertools import pairwise

import pytest
import torch

from diffusion_lab.sampling.grids import Trailing
from diffusion_lab.schedules import DiscreteSchedule
from grid_schedules import Flow


def pairs(total, steps):
    return Trailing(DiscreteSchedule(torch.full((total,), 0.01))).steps(steps)


def test_10_of_1000_steps_visit_999_899_and_so_on_to_99():
    """Lin et al. 2023, table 2, trailing."""
    found = pairs(1000, 10)
    assert [round(t * 1000) - 1 for t, _ in found] == list(range(999, 0, -100))
    assert (found[0][0], found[-1][1]) == (1, 0)


def test_a_number_of_steps_that_does_not_divide_takes_the_nearest_rows():
    assert [round(t * 10) for t, _ in pairs(10, 3)] == [10, 7, 3]


def test_all_steps_are_all_rows():
    assert pairs(7, 7) == [(n / 7, (n - 1) / 7) for n in range(7, 0, -1)]


def test_in_continuous_time_the_steps_are_even():
    assert Trailing(Flow()).steps(4) == [(1, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0)]


@pytest.mark.parametrize("total", [1, 2, 10, 37, 100])
def test_steps_connect_from_1_to_0_and_differ_by_one_row_at_most(total):
    for steps in range(1, total + 1):
        found = pairs(total, steps)
        assert len(found) == steps
        assert (found[0][0], found[-1][1]) == (1, 0)
        assert all(s == t for (_, s), (t, _) in pairwise(found))
        gaps = [round((t - s) * total) for t, s in found]
        assert max(gaps) - min(gaps) <= 1
