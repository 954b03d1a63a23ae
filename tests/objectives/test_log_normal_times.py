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
    assert stats.kstest((-schedule.log_snr(t) / 2).numpy(), "norm", (mean, std)).pvalue > 1e-3


def test_with_steps_the_times_are_rows_and_no_more_often_than_the_distribution_says():
    schedule = CosineSchedule(100)
    t = LogNormalTimes(Gaussian(schedule), 20_000)(Noise(torch.arange(20_000), 0, "time"))
    rows = (t * 100).round()
    assert torch.allclose(rows / 100, t)
    assert (rows.min(), rows.max()) >= (1, 50)
    level = -schedule.log_snr(t) / 2
    assert float(level.mean()) == pytest.approx(-1.2, abs=0.1)


def test_what_lies_beyond_the_schedule_is_taken_at_its_end():
    t = LogNormalTimes(Gaussian(EDMSchedule(0.1, 1.0)), 1000, mean=0.0, std=3.0)(Noise(torch.arange(1000), 0))
    assert (float(t.min()), float(t.max())) == (0, 1)


def test_std_is_positive():
    with pytest.raises(ValueError, match=r"time_sampling\.std must be positive, got 0"):
        LogNormalTimes(Gaussian(FlowSchedule()), 8, std=0.0)
