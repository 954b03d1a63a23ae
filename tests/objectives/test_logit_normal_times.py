import pytest
import torch
from scipy import stats

from diffusion_lab.noise import Noise
from diffusion_lab.objectives import LogitNormalTimes
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import FlowSchedule, LinearSchedule


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.3)])
def test_the_logit_is_normal(stratified, mean, std):
    times = LogitNormalTimes(Gaussian(FlowSchedule()), 20_000, stratified, mean, std)
    t = times(Noise(torch.arange(20_000), 0, "time"))
    assert stats.kstest(torch.logit(t).numpy(), stats.norm(mean, std).cdf).pvalue > 1e-3


def test_with_steps_the_times_are_rows():
    t = LogitNormalTimes(Gaussian(LinearSchedule(100)), 1000, std=9.0)(Noise(torch.arange(1000), 0, "time"))
    rows = (t * 100).round()
    assert torch.allclose(rows / 100, t)
    assert (float(rows.min()), float(rows.max())) == (1, 100)


def test_std_is_positive():
    with pytest.raises(ValueError, match=r"time_sampling\.std must be positive and finite, got -1"):
        LogitNormalTimes(Gaussian(FlowSchedule()), 8, std=-1.0)
