import pytest
import torch

from diffusion_lab.parameterizations import Velocity
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import LinearSchedule
from round_trip import SCHEDULES, check_round_trip


@pytest.mark.parametrize("schedule", ["linear", "cosine", "flow", "edm"])
def test_the_data_and_the_noise_follow_from_the_target(schedule):
    check_round_trip(Velocity, SCHEDULES[schedule])


def test_on_the_linear_path_it_is_noise_minus_data():
    process, noised = check_round_trip(Velocity, SCHEDULES["flow"])
    torch.testing.assert_close(Velocity(process).target(noised), noised.eps - noised.z0)


@pytest.mark.parametrize("schedule", ["flow", "edm"])
def test_it_is_the_derivative_of_the_state(schedule):
    process, noised = check_round_trip(Velocity, SCHEDULES[schedule])
    step = 1e-6
    after, before = (process.mix(noised.z0, noised.t + h, noised.eps).z_t for h in (step, -step))
    torch.testing.assert_close(Velocity(process).target(noised), (after - before) / (2 * step), rtol=1e-6, atol=1e-6)


def test_a_schedule_without_a_slope_at_the_end_is_refused():
    with pytest.raises(ValueError, match="parameterization=velocity needs a finite slope at t = 1, and LinearSchedule"):
        Velocity(Gaussian(LinearSchedule(zero_terminal_snr=True)))
