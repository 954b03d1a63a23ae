import threading

import numpy as np
import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.likelihood.item_solver import solve_each

RATES = np.array([1.0, 30.0, 0.1, 5.0])


def decays(calls=None):
    def slopes(which, times, states):
        if calls is not None:
            calls.append(list(which))
        return -RATES[which, None] * states

    return slopes


def test_each_equation_is_solved_with_its_own_number_of_evaluations():
    ends, evaluations = solve_each(decays(), np.ones((4, 2)), (0.0, 1.0), 1e-8, 1e-8, together=4)
    np.testing.assert_allclose(ends, np.exp(-RATES)[:, None].repeat(2, 1), atol=1e-6)
    assert evaluations[1] > 2 * evaluations[2]
    assert evaluations.dtype == np.int64


def test_what_is_evaluated_together_does_not_change_the_results():
    ends, evaluations = solve_each(decays(), np.ones((4, 2)), (0.0, 1.0), 1e-4, 1e-4, together=4)
    for together in (1, 3):
        calls = []
        again = solve_each(decays(calls), np.ones((4, 2)), (0.0, 1.0), 1e-4, 1e-4, together)
        np.testing.assert_array_equal(again[0], ends)
        np.testing.assert_array_equal(again[1], evaluations)
        assert max(map(len, calls)) == together
        assert sum(map(len, calls)) == evaluations.sum()


def test_slopes_come_together_in_the_same_way_every_time():
    found = [[], []]
    for calls in found:
        solve_each(decays(calls), np.ones((4, 2)), (0.0, 1.0), 1e-4, 1e-4, together=3)
    assert found[0] == found[1]
    assert found[0][0] == [0, 1, 2]
    assert found[0][-1] == [1] or found[0][-1] == [3]


def test_each_end_is_told():
    ended = []
    solve_each(decays(), np.ones((4, 2)), (0.0, 1.0), 1e-4, 1e-4, 2, lambda: ended.append(1))
    assert len(ended) == 4


def test_an_error_of_the_slopes_ends_all_threads():
    def fails(which, times, states):
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        solve_each(fails, np.ones((4, 2)), (0.0, 1.0), 1e-4, 1e-4, together=3)
    assert threading.active_count() == before


def test_an_equation_that_cannot_be_solved_is_an_error():
    def explodes(which, times, states):
        return states**2

    with pytest.raises(LabError, match="cannot be solved: Required step size is less than spacing"):
        solve_each(explodes, np.ones((2, 1)), (0.0, 2.0), 1e-6, 1e-6, together=2)
