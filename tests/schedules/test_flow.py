import pytest
import torch

from diffusion_lab.schedules import FlowSchedule

T = torch.linspace(0, 1, 11, dtype=torch.float64)


def test_data_and_noise_change_places_linearly():
    schedule = FlowSchedule()
    torch.testing.assert_close(schedule.alpha(T), 1 - T)
    torch.testing.assert_close(schedule.sigma(T), T)
    assert schedule.prior_std == 1
    assert schedule.steps is None


def test_the_log_snr_is_infinite_at_both_ends_and_time_inverts_it():
    schedule = FlowSchedule()
    log_snr = schedule.log_snr(T)
    assert log_snr[[0, -1]].tolist() == [float("inf"), float("-inf")]
    torch.testing.assert_close(schedule.time(log_snr), T)
    assert float(log_snr[5]) == pytest.approx(0)


def test_its_derivatives_are_constant():
    assert (FlowSchedule().d_alpha(T).unique().tolist(), FlowSchedule().d_sigma(T).unique().tolist()) == ([-1], [1])


def test_coefficients_are_float64_whatever_times_are():
    schedule, t = FlowSchedule(), torch.full((3,), 0.25)
    for of in (schedule.alpha, schedule.sigma, schedule.d_alpha, schedule.d_sigma, schedule.log_snr, schedule.time):
        assert of(t).dtype == torch.float64
