import math

import pytest
import torch
from scipy import stats

from diffusion_lab.noise import Noise
from diffusion_lab.objectives import LogNormalTimes
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule, EDMSchedule, FlowSchedule


@pytest.mark.parametrize("schedule", [EDMSchedule(), FlowSchedule()])
@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize(("mean", "std"), [(-1.2, 1.2), (0.5, 0.3)])
def test_the_logarithm_of_the_noise_level_is_normal(schedule, stratified, mean, std):
    times = LogNormalTimes(Gaussian(schedule), 20_000, stratified, mean, std)
    t = times(Noise(torch.arange(20_000), 0, "time"))
    assert stats.kstest((-schedule.log_snr(t) / 2).numpy(), stats.norm(mean, std).cdf).pvalue > 1e-3


def test_with_steps_each_row_is_drawn_as_often_as_the_distribution_says():
    """Row n of 100 stands for the times from (n − 1)/100 to n/100, and the ends for what lies beyond them."""
    schedule = CosineSchedule(100)
    t = LogNormalTimes(Gaussian(schedule), 100_000)(Noise(torch.arange(100_000), 0, "time"))
    rows = (t * 100).round().long()
    torch.testing.assert_close(rows / 100, t, check_dtype=False)
    ends = torch.arange(101, dtype=torch.float64) / 100
    shares = stats.norm(-1.2, 1.2).cdf((-schedule.log_snr(ends) / 2).numpy())
    shares[0], shares[-1] = 0, 1
    expected = (shares[1:] - shares[:-1]) * len(t)
    common = expected > 20
    counts = torch.bincount(rows, minlength=101)[1:].numpy()[common]
    assert counts.sum() > 0.99 * len(t)
    assert stats.chisquare(counts, expected[common] * counts.sum() / expected[common].sum()).pvalue > 1e-3


def test_what_lies_beyond_the_schedule_is_taken_at_its_end():
    t = LogNormalTimes(Gaussian(EDMSchedule(0.1, 1.0)), 1000, mean=0.0, std=3.0)(Noise(torch.arange(1000), 0))
    assert (float(t.min()), float(t.max())) == (0, 1)


def test_std_is_positive():
    with pytest.raises(ValueError, match=r"time_sampling\.std must be positive and finite, got 0"):
        LogNormalTimes(Gaussian(FlowSchedule()), 8, std=0.0)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_numbers_are_finite(name):
    with pytest.raises(ValueError, match=rf"time_sampling\.{name} must be .*finite, got inf"):
        LogNormalTimes(Gaussian(EDMSchedule()), 8, **{name: math.inf})
