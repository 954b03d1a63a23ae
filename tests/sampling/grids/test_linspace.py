import pytest

from diffusion_lab.sampling.grids import Linspace
from diffusion_lab.schedules import LinearSchedule
from grid_schedules import Flow


def test_10_of_1000_steps_visit_999_888_and_so_on_to_0():
    """Lin et al. 2023, table 2, linspace."""
    found = Linspace(LinearSchedule(1000)).steps(10)
    assert [round(t * 1000) - 1 for t, _ in found] == list(range(999, -1, -111))
    assert found[-1][1] == 0


def test_indices_between_rows_are_rounded_where_there_are_rows():
    assert [t for t, _ in Linspace(LinearSchedule(100)).steps(5)] == [1, 0.75, 0.51, 0.26, 0.01]  # 74.25, 49.5, 24.75


def test_in_continuous_time_nothing_is_rounded():
    times = [t for t, _ in Linspace(Flow()).steps(3)]
    assert times == pytest.approx([1, (999 / 2 + 1) / 1000, 0.001])


def test_one_step_starts_at_1():
    assert Linspace(LinearSchedule(10, 1e-4, 2e-3)).steps(1) == [(1, 0)]
