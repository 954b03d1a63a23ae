import pytest
import torch

from diffusion_lab.parameterizations import V
from round_trip import SCHEDULES, check_round_trip


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_data_and_the_noise_follow_from_the_target(schedule):
    check_round_trip(V, SCHEDULES[schedule])


def test_it_is_the_velocity_of_the_angle_where_variance_is_preserved():
    """Salimans & Ho 2022, appendix D: v = dz/dphi with alpha = cos phi and sigma = sin phi."""
    process, noised = check_round_trip(V, SCHEDULES["cosine"])
    phi = torch.atan2(process.schedule.sigma(noised.t), process.schedule.alpha(noised.t))[:, None, None]
    step = 1e-6
    after, before = (torch.cos(phi + h) * noised.z0 + torch.sin(phi + h) * noised.eps for h in (step, -step))
    torch.testing.assert_close(V(process).target(noised), (after - before) / (2 * step), rtol=0, atol=1e-8)
