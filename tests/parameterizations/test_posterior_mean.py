import math

import pytest
import torch

from diffusion_lab.codecs import Pixels
from diffusion_lab.objectives.variational_bound import bound_term
from diffusion_lab.parameterizations.posterior_mean import PosteriorMean
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import CosineSchedule, EDMSchedule, FlowSchedule, LinearSchedule
from oracles import bayes
from round_trip import SCHEDULES, TIMES, check_round_trip

#: What the tests of all options together refuse it with, by what the refusal says.
REFUSED = {"needs a schedule of T steps": {"schedule": "flow edm", "time": "continuous"}}


@pytest.mark.parametrize("schedule", ["linear", "cosine", "zero terminal SNR"])
def test_the_data_and_the_noise_follow_from_the_target(schedule):
    check_round_trip(PosteriorMean, SCHEDULES[schedule])


def pair(schedule, times, dtype=torch.float64):
    """A parameterization, and states [B, 4] at these times."""
    parameterization = PosteriorMean(Gaussian(schedule))
    generator, t = torch.Generator().manual_seed(0), torch.tensor(times, dtype=torch.float64)
    z0, eps = torch.randn(2, len(times), 4, dtype=dtype, generator=generator)
    return parameterization, parameterization.process.mix(z0.clamp(-1, 1), t, eps)


@pytest.mark.parametrize(
    "schedule", [LinearSchedule(50), CosineSchedule(50), LinearSchedule(50, zero_terminal_snr=True)]
)
def test_the_target_is_the_mean_that_bayes_rule_gives(schedule):
    """By quadrature, at rows of the schedule and between them."""
    times = [2 / 50, 0.5, 0.513, 0.98, 0.999] + ([] if schedule.alpha_bar[-1] == 0 else [1.0])
    parameterization, noised = pair(schedule, times)
    target = parameterization.target(noised)
    alpha_bar, before = schedule.alpha(noised.t) ** 2, schedule.alpha(noised.t - 1 / 50) ** 2
    for n in range(len(times)):
        mean, _ = bayes.posterior(
            float(noised.z_t[n, 0]), float(noised.z0[n, 0]), float(alpha_bar[n]), float(before[n])
        )
        assert float(target[n, 0]) == pytest.approx(mean, abs=1e-9)


def test_without_any_signal_the_mean_is_the_data_times_what_the_step_leaves():
    """z_1 says nothing then, and q(z_s | z_1, x0) = q(z_s | x0)."""
    schedule = LinearSchedule(50, zero_terminal_snr=True)
    parameterization, noised = pair(schedule, [1.0])
    expected = float(schedule.alpha(torch.tensor(49 / 50, dtype=torch.float64))) * noised.z0
    torch.testing.assert_close(parameterization.target(noised), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_the_first_step_and_before_it_the_mean_is_the_data(dtype):
    parameterization, noised = pair(LinearSchedule(50), [1 / 50, 0.3 / 50, 0.0], dtype)
    torch.testing.assert_close(parameterization.target(noised), noised.z0, rtol=0, atol=1e-7)
    raw = noised.z0 + 0.5
    prediction = parameterization.prediction(raw, noised.z_t, noised.t)
    torch.testing.assert_close(prediction.x0, raw, rtol=0, atol=1e-6)
    assert bool(prediction.eps.isfinite().all())


@pytest.mark.parametrize("schedule", [LinearSchedule(), CosineSchedule()])
def test_float32_loses_no_more_digits_than_the_output_has_lost(schedule):
    """The same float32 numbers in float64; a plain (raw − b z)/a is off by 6e-4 for the linear schedule."""
    parameterization, noised = pair(schedule, TIMES.tolist(), torch.float32)
    raw = parameterization.target(noised)
    found = parameterization.prediction(raw, noised.z_t, noised.t).x0
    exact = parameterization.prediction(raw.double(), noised.z_t.double(), noised.t).x0
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1.5e-5)


@pytest.mark.parametrize("schedule", [LinearSchedule(), CosineSchedule()])
def test_the_step_back_by_one_row_has_the_predicted_mean(schedule):
    """Through the predicted data and back, whatever the network puts out."""
    times = [1 / 1000, 2 / 1000, 0.5, 1.0]
    parameterization, noised = pair(schedule, times, torch.float32)
    raw = noised.z_t + torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    prediction = parameterization.prediction(raw, noised.z_t, noised.t)
    step = parameterization.process.posterior(noised.z_t, prediction, noised.t, noised.t - 1 / 1000)
    torch.testing.assert_close(step.mean, raw, rtol=1e-5, atol=1e-6)


def test_an_error_of_the_output_is_one_of_the_data_by_data_error():
    parameterization, noised = pair(LinearSchedule(), TIMES.tolist())
    before, after = (
        parameterization.prediction(parameterization.target(noised) + error, noised.z_t, noised.t).x0
        for error in (0.0, 1e-3)
    )
    ratio = (after - before).square().mean(1) / 1e-6
    torch.testing.assert_close(ratio, parameterization.data_error(noised.t), rtol=1e-6, atol=0)


def test_the_bound_is_its_squared_error_divided_by_twice_the_variance():
    """Ho et al. 2020, eq. 8, with σ² = β."""
    schedule = LinearSchedule(50)
    parameterization, noised = pair(schedule, [2 / 50, 0.5, 1.0])
    process, target = parameterization.process, parameterization.target(noised)

    def bound(raw):
        prediction = parameterization.prediction(raw, noised.z_t, noised.t)
        return bound_term(process, Pixels(), noised.z0, noised.t, prediction)

    error = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / 10
    beta = schedule.betas[(noised.t * 50).round().long() - 1]
    expected = error.square().mean(1) / (2 * beta) / math.log(2)
    torch.testing.assert_close(bound(target + error) - bound(target), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("schedule", [FlowSchedule(), EDMSchedule(), LinearSchedule(None)])
def test_without_steps_it_is_refused(schedule):
    with pytest.raises(
        ValueError, match=r"parameterization=posterior_mean needs a schedule of T steps, .* is in continuous time"
    ):
        PosteriorMean(Gaussian(schedule))
