"""The times that a bound is taken at."""

import itertools

import numpy as np
import pytest
import torch

from diffusion_lab.codecs import Pixels
from diffusion_lab.likelihood.bound_forms import ContinuousBound, DiscreteBound
from diffusion_lab.noise import Noise
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import EDMSchedule, LinearSchedule


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("first", [1, 5])
def test_steps_are_drawn_by_what_they_lose_on_normal_data_and_a_tenth_of_them_evenly(zero_terminal_snr, first):
    """With abar = SNR/(1 + SNR) the loss (SNR_s − SNR_t)/(1 + SNR_t) is (abar_s − abar_t)/(1 − abar_s)."""
    schedule = LinearSchedule(30, zero_terminal_snr=zero_terminal_snr)
    form = DiscreteBound(Gaussian(schedule), Pixels(), 30, "beta", first)
    abar = schedule.alpha_bar.double().numpy()[first:]
    lost = (abar[:-1] - abar[1:]) / (1 - abar[:-1])
    expected = 0.9 * lost / lost.sum() + 0.1 / (30 - first)
    np.testing.assert_allclose(form.probabilities.numpy(), expected, rtol=1e-5)
    assert form.first_time == first / 30


@pytest.mark.parametrize("first", [1, 5])
def test_each_step_is_drawn_as_often_as_its_probability_says_and_weighs_its_inverse(first):
    form = DiscreteBound(Gaussian(LinearSchedule(30)), Pixels(), 30, "beta", first)
    assert form.count(4) == 4
    drawn = list(form.times(Noise(torch.arange(20_000), 0), 4))
    assert len(drawn) == 4
    rows = torch.stack([t * 30 for t, _ in drawn]).round().long()
    weights = torch.stack([weight for _, weight in drawn])
    torch.testing.assert_close(weights, 1 / (4 * form.probabilities[rows - first - 1]))
    shares = torch.bincount(rows.flatten() - first - 1, minlength=30 - first) / rows.numel()
    torch.testing.assert_close(shares.double(), form.probabilities, atol=0.006, rtol=0)
    assert all(bool(low.amax() <= high.amin()) for low, high in itertools.pairwise(rows))  # strata


def test_times_of_continuous_time_are_even_in_the_logarithm_of_the_share_of_noise():
    schedule = EDMSchedule(0.01, 50.0)
    form = ContinuousBound(Gaussian(schedule), Pixels(), 0.02)
    low, high = (np.log(noise / np.hypot(1, noise)) for noise in (0.02, 50.0))
    assert form.first_time == pytest.approx(float(schedule.time(torch.tensor(-2 * np.log(0.02)))))
    for stratum, (t, weight) in enumerate(form.times(Noise(torch.arange(3000), 0), 4)):
        sigma, alpha = schedule.sigma(t), schedule.alpha(t)
        place = ((sigma / torch.hypot(sigma, alpha)).log() - low) / (high - low)
        assert place.min() == pytest.approx(stratum / 4, abs=1e-3)
        assert place.max() == pytest.approx((stratum + 1) / 4, abs=1e-3)
        assert weight.tolist() == pytest.approx([(high - low) / 4] * 3000)
