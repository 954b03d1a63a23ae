import math

import pytest
import torch

from diffusion_lab.schedules import SqrtSchedule

ONE = torch.ones((), dtype=torch.float64)


@pytest.mark.parametrize("steps", [2000, 50])
def test_rows_have_the_formula_until_the_last_betas_are_clipped(steps):
    schedule = SqrtSchedule(steps)
    rows = torch.arange(1, steps)
    expected = torch.tensor([1 - math.sqrt(n / steps + 1e-4) for n in rows.tolist()], dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha_bar[1:-1], expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(schedule.alpha(rows.double() / steps) ** 2, expected, rtol=1e-9, atol=0)
    assert float(schedule.alpha_bar[0]) == 1  # clean data
    assert float(schedule.betas[-1]) == pytest.approx(0.999)  # where the formula is below 0
    assert 0 < float(schedule.alpha_bar[-1]) == pytest.approx(0.001 * float(expected[-1]))
    assert schedule.ends_clean


def test_continuous_time_starts_with_a_little_noise_and_is_that_of_steps():
    schedule = SqrtSchedule(None)
    assert float(schedule.alpha(0 * ONE)) ** 2 == pytest.approx(0.99)
    assert float(schedule.sigma(0 * ONE)) == pytest.approx(0.1)
    assert not schedule.ends_clean
    t = torch.tensor([0.001, 0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(schedule.log_snr(t), SqrtSchedule(1000).log_snr(t), rtol=0, atol=2e-2)
    torch.testing.assert_close(schedule.log_snr(ONE), SqrtSchedule(1000).log_snr(ONE), rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [None, 1000])
def test_with_zero_terminal_snr_no_signal_is_left(steps):
    assert float(SqrtSchedule(steps, zero_terminal_snr=True).alpha(ONE)) == 0


@pytest.mark.parametrize("zero", [False, True])
def test_slopes_and_the_inverse_of_continuous_time(zero):
    schedule = SqrtSchedule(None, zero_terminal_snr=zero)
    t = torch.tensor([0.01, 0.2, 0.5, 0.8, 0.99], dtype=torch.float64)
    for of, slope in ((schedule.alpha, schedule.d_alpha), (schedule.sigma, schedule.d_sigma)):
        torch.testing.assert_close((of(t + 1e-6) - of(t - 1e-6)) / 2e-6, slope(t), rtol=1e-5, atol=1e-8)
    times = torch.linspace(0, 1, 1001, dtype=torch.float64)
    torch.testing.assert_close(schedule.time(schedule.log_snr(times)), times, rtol=0, atol=1e-12)
    beyond = torch.tensor([torch.inf, 50.0, -1000.0, -torch.inf], dtype=torch.float64)
    assert schedule.time(beyond).tolist() == pytest.approx([0, 0, 1, 1])
    assert bool((schedule.log_snr(times).diff() < 0).all())


@pytest.mark.parametrize(
    "wrong", [{"steps": 1}, {"offset": 0.0}, {"offset": 0.5}, {"max_beta": 1.0}, {"max_beta": 0.0}]
)
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"schedule\.{next(iter(wrong))}.* are needed"):
        SqrtSchedule(**wrong)


@pytest.mark.parametrize("zero", [False, True])
def test_two_steps_are_the_fewest(zero):
    betas = SqrtSchedule(2, offset=0.14, zero_terminal_snr=zero).betas
    assert betas.tolist() == pytest.approx([0.8, 1 if zero else 0.999], rel=1e-12)  # √(0.5 + 0.14)
