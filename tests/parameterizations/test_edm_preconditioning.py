import math

import pytest
import torch

from diffusion_lab.parameterizations import EDM
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import EDMSchedule, LinearSchedule
from round_trip import SCHEDULES, TIMES, check_round_trip

SIGMA_DATA = 0.5


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_data_and_the_noise_follow_from_the_target(schedule):
    check_round_trip(EDM, SCHEDULES[schedule])


@pytest.mark.parametrize("schedule", [EDMSchedule(), LinearSchedule()])
def test_it_is_the_paper_s_in_terms_of_z_over_alpha(schedule):
    """Karras et al. 2022, table 1."""
    process = Gaussian(schedule)
    parameterization = EDM(process, SIGMA_DATA)
    alpha = schedule.alpha(TIMES)[:, None]
    y, r = torch.randn(len(TIMES), 3, dtype=torch.float64), schedule.sigma(TIMES)[:, None] / alpha
    total = (r**2 + SIGMA_DATA**2).sqrt()
    c_skip, c_out, c_in = SIGMA_DATA**2 / total**2, r * SIGMA_DATA / total, 1 / total
    x, c_noise = parameterization.network_input(alpha * y, TIMES)
    torch.testing.assert_close(x, c_in * y)
    raw = torch.randn(len(TIMES), 3, dtype=torch.float64)
    torch.testing.assert_close(parameterization.prediction(raw, alpha * y, TIMES).x0, c_skip * y + c_out * raw)
    if isinstance(schedule, EDMSchedule):
        torch.testing.assert_close(c_noise.double(), r[:, 0].log() / 4, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_input_and_target_have_unit_variance_at_every_noise_level(schedule):
    process = Gaussian(SCHEDULES[schedule])
    parameterization = EDM(process, SIGMA_DATA)
    generator = torch.Generator().manual_seed(0)
    z0, eps = torch.randn(2, len(TIMES), 50_000, dtype=torch.float64, generator=generator)
    noised = process.mix(SIGMA_DATA * z0, TIMES, eps)
    for values in (parameterization.network_input(noised.z_t, TIMES)[0], parameterization.target(noised)):
        torch.testing.assert_close(values.std(1), torch.ones(len(TIMES)).double(), rtol=0, atol=0.02)


@pytest.mark.parametrize("sigma_data", [0.0, math.inf])
def test_sigma_data_is_positive_and_finite(sigma_data):
    with pytest.raises(
        ValueError, match=rf"parameterization\.sigma_data must be positive and finite, got {sigma_data}"
    ):
        EDM(Gaussian(EDMSchedule()), sigma_data)
