import pytest
import torch
from scipy import stats

from diffusion_lab.noise import Noise
from diffusion_lab.objectives import UniformTimes
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_times_are_uniform_over_1_to_t_and_never_0(steps):
    t = UniformTimes(Gaussian(CosineSchedule(steps)), 64)(Noise(torch.arange(100_000), 0, "time"))
    assert t.dtype == torch.float64
    row = (t * steps).round().long()
    assert torch.equal(t, row.double() / steps)
    counts = torch.bincount(row, minlength=steps + 1)
    assert counts[0] == 0
    assert len(counts) == steps + 1
    assert counts[1:].min() > 0
    if steps > 1:
        assert stats.chisquare(counts[1:].numpy()).pvalue > 1e-3


def test_the_time_of_a_row_does_not_depend_on_its_batch():
    times = UniformTimes(Gaussian(CosineSchedule(1000)), 64)
    assert torch.equal(times(Noise(torch.arange(9), 1)), times(Noise(torch.arange(64), 1))[:9])


class Continuous:
    steps = None


def test_in_continuous_time_they_are_uniform_on_0_to_1_without_0():
    t = UniformTimes(Gaussian(Continuous()), 64)(Noise(torch.arange(100_000), 0, "time"))
    assert stats.kstest(t.numpy(), "uniform").pvalue > 1e-3
    assert t.min() > 0
    assert t.max() <= 1


@pytest.mark.parametrize("schedule", [CosineSchedule(64), Continuous()])
def test_stratified_times_fall_into_as_many_parts_as_the_batch_has_samples(schedule):
    """Kingma et al. 2021, appendix I.1: each of 64 equal parts gets one sample, and each sample is uniform."""
    times = UniformTimes(Gaussian(schedule), 64, stratified=True)
    first = []
    for batch in range(400):
        t = times(Noise(torch.arange(64), 0, batch))
        parts = (t * 64 - 1e-9).floor().long()
        assert torch.equal(parts.sort().values, torch.arange(64))
        first.append(float(t[0]))
    assert stats.kstest(first, "uniform").pvalue > 1e-3


def test_stratified_times_lie_at_even_distances_in_double_precision():
    t = UniformTimes(Gaussian(Continuous()), 48, stratified=True)(Noise(torch.arange(48), 0, "batch")).sort().values
    torch.testing.assert_close(t.diff(), torch.full((47,), 1 / 48, dtype=torch.float64), rtol=0, atol=1e-14)


def test_stratified_times_of_a_validation_are_as_many_as_its_samples():
    """Its rows are places in the split: each batch of them has an offset of its own."""
    t = UniformTimes(Gaussian(Continuous()), 8, stratified=True)(Noise(torch.arange(800), 0, "validation"))
    assert len(t.unique()) == 800
    assert stats.kstest(t.numpy(), "uniform").pvalue > 1e-3


def test_stratified_times_of_a_rank_are_those_of_its_part_of_the_batch():
    times = UniformTimes(Gaussian(Continuous()), 64, stratified=True)
    whole = times(Noise(torch.arange(64), 0, "batch"))
    assert torch.equal(times(Noise(torch.arange(32, 64), 0, "batch")), whole[32:])
