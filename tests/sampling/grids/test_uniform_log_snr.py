import math

import pytest
import torch

from diffusion_lab.sampling.grids import UniformLogSNR
from diffusion_lab.schedules import LinearSchedule
from grid_schedules import Exploding, Flow, Preserving


def log_snrs(schedule, steps):
    return schedule.log_snr(torch.tensor([t for t, _ in UniformLogSNR(schedule).steps(steps)], dtype=torch.float64))


def gaps(values):
    return (values[1:] - values[:-1]).tolist()


@pytest.mark.parametrize("schedule", [Exploding(), Preserving(), LinearSchedule()])
@pytest.mark.parametrize("steps", [2, 3, 10, 40])
def test_the_log_snrs_are_even(schedule, steps):
    found = gaps(log_snrs(schedule, steps))
    assert found == pytest.approx([found[0]] * (steps - 1))


def test_the_ends_are_those_of_the_schedule_where_its_log_snr_is_finite():
    assert UniformLogSNR(Exploding()).steps(4)[0][0] == 1
    assert UniformLogSNR(Exploding()).steps(4)[-1] == (0, 0)  # the step to clean data


def test_where_the_log_snr_is_infinite_one_step_leads_to_and_from_even_steps():
    found = UniformLogSNR(Flow(), -2 * math.log(80)).steps(5)
    assert found[0] == (1, pytest.approx(80 / 81))  # where sigma/alpha = t/(1 − t) = 80
    assert found[-1] == (0.001, 0)
    even = gaps(log_snrs(Flow(), 5)[1:])
    assert even == pytest.approx([even[0]] * 3)
    steps = UniformLogSNR(LinearSchedule(100)).steps(5)
    assert (steps[0][0], steps[-1]) == (1, (0.01, 0))


@pytest.mark.parametrize("schedule", [Exploding(), Flow(), LinearSchedule()])
def test_one_step_goes_from_1_to_the_data(schedule):
    assert UniformLogSNR(schedule).steps(1) == [(1, 0 if schedule.ends_clean else 1)]


LAST = float(Flow().log_snr(torch.tensor(0.001, dtype=torch.float64)))


@pytest.mark.parametrize("log_snr", [-math.inf, LAST, 14, math.nan])
def test_even_steps_must_begin_before_they_end(log_snr):
    with pytest.raises(ValueError, match=r"grid\.min_log_snr must be finite and below 13\.81"):
        UniformLogSNR(Flow(), log_snr)
