from itertools import pairwise

import pytest

from diffusion_lab.sampling.time_grids import trailing


def test_10_of_1000_steps_visit_999_899_and_so_on_to_99():
    """Lin et al. 2023, table 2, trailing."""
    pairs = list(trailing(1000, 10))
    assert [round(t * 1000) - 1 for t, _ in pairs] == list(range(999, 0, -100))
    assert pairs[0][0] == 1
    assert pairs[-1][1] == 0


def test_a_number_of_steps_that_does_not_divide_takes_the_nearest_rows():
    assert [round(t * 10) for t, _ in trailing(10, 3)] == [10, 7, 3]


def test_all_steps_are_all_rows():
    assert list(trailing(7, 7)) == [(n / 7, (n - 1) / 7) for n in range(7, 0, -1)]


@pytest.mark.parametrize("total", [1, 2, 10, 37, 100])
def test_steps_connect_from_1_to_0_and_always_fall(total):
    for steps in range(1, total + 1):
        pairs = list(trailing(total, steps))
        assert len(pairs) == steps
        assert (pairs[0][0], pairs[-1][1]) == (1, 0)
        assert all(t > s for t, s in pairs)
        assert all(s == t for (_, s), (t, _) in pairwise(pairs))
        gaps = [round((t - s) * total) for t, s in pairs]
        assert max(gaps) - min(gaps) <= 1
