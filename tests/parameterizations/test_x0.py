import pytest
import torch

from diffusion_lab.parameterizations import X0
from round_trip import SCHEDULES, check_round_trip


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "linear"])
def test_the_data_and_the_noise_follow_from_the_target(schedule):
    process, noised = check_round_trip(X0, SCHEDULES[schedule])
    assert torch.equal(X0(process).target(noised), noised.z0)
