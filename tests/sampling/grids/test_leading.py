from diffusion_lab.sampling.grids import Leading
from diffusion_lab.schedules import LinearSchedule


def test_10_of_1000_steps_visit_900_800_and_so_on_to_0():
    """Lin et al. 2023, table 2, leading."""
    found = Leading(LinearSchedule(1000)).steps(10)
    assert [round(t * 1000) - 1 for t, _ in found] == list(range(900, -1, -100))
    assert found[-1][1] == 0


def test_a_number_of_steps_that_does_not_divide_rounds_the_stride_down():
    assert [round(t * 100) - 1 for t, _ in Leading(LinearSchedule(100)).steps(7)] == [84, 70, 56, 42, 28, 14, 0]
