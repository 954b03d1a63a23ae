import math

import pytest
import torch

from diffusion_lab.schedules import EDMSchedule

T = torch.linspace(0, 1, 11, dtype=torch.float64)


def test_variance_explodes_from_sigma_min_to_sigma_max():
    schedule = EDMSchedule()
    assert schedule.sigma(T)[[0, -1]].tolist() == pytest.approx([0.002, 80])
    assert float(schedule.sigma(T)[5]) == pytest.approx(math.sqrt(0.002 * 80))
    assert schedule.alpha(T).unique().tolist() == [1]
    assert schedule.prior_std == pytest.approx(80)


def test_time_inverts_the_log_snr_within_its_range_and_beyond():
    schedule = EDMSchedule()
    torch.testing.assert_close(schedule.time(schedule.log_snr(T)), T)
    torch.testing.assert_close(schedule.log_snr(T), -2 * schedule.sigma(T).log())
    assert float(schedule.time(torch.tensor(-2 * math.log(100.0)))) > 1


def test_networks_are_told_a_quarter_of_log_sigma():
    """Karras et al. 2022, table 1."""
    torch.testing.assert_close(EDMSchedule().c_noise(T), EDMSchedule().sigma(T).log() / 4)


def test_its_derivatives_are_those_of_sigma():
    schedule, step = EDMSchedule(), 1e-7
    numeric = (schedule.sigma(T + step) - schedule.sigma(T - step)) / (2 * step)
    torch.testing.assert_close(schedule.d_sigma(T), numeric, rtol=1e-6, atol=1e-9)
    assert schedule.d_alpha(T).unique().tolist() == [0]


@pytest.mark.parametrize(("low", "high"), [(0, 80), (-1, 80), (2, 2), (3, 2), (1, math.inf)])
def test_its_ends_are_positive_and_in_order(low, high):
    with pytest.raises(ValueError, match=r"schedule\.sigma_min must be above 0 and below schedule\.sigma_max"):
        EDMSchedule(low, high)


def test_coefficients_are_float64_whatever_times_are():
    schedule, t = EDMSchedule(), torch.full((3,), 0.3)
    for of in (
        schedule.alpha, schedule.sigma, schedule.d_alpha, schedule.d_sigma, schedule.log_snr, schedule.time,
        schedule.c_noise,
    ):  # fmt: skip
        assert torch.equal(of(t), of(t.double()))
        assert of(t).dtype == torch.float64
