"""The schedules of discrete processes, against 50 digits of mpmath and each other."""

import math

import mpmath
import pytest
import torch

from diffusion_lab.schedules import (
    GeometricSchedule,
    LogLinearSchedule,
    PolynomialSchedule,
    SurvivalCosineSchedule,
    SurvivalSquaredCosineSchedule,
)

TIMES = (0.0, 1e-9, 0.1, 0.5, 0.9, 1 - 1e-9, 1.0)
CASES = {
    "log_linear": (LogLinearSchedule(), lambda t: 1 - t),
    "log_linear, remaining": (LogLinearSchedule(remaining=1e-3), lambda t: 1 - mpmath.mpf("0.999") * t),
    "polynomial": (PolynomialSchedule(3.0), lambda t: 1 - t**3),
    "polynomial, steep": (PolynomialSchedule(5.0, remaining=0.25), lambda t: 1 - mpmath.mpf("0.75") * t**5),
    "cosine": (SurvivalCosineSchedule(), lambda t: 1 - mpmath.cos(mpmath.pi / 2 * (1 - t))),
    "squared cosine": (SurvivalSquaredCosineSchedule(), lambda t: mpmath.cos(mpmath.pi / 2 * t) ** 2),
    "geometric": (
        GeometricSchedule(1e-4, 20.0),
        lambda t: mpmath.exp(-(mpmath.mpf("1e-4") ** (1 - t) * mpmath.mpf(20) ** t)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_survival_and_its_derivative_have_their_digits(name):
    schedule, exact = CASES[name]
    t = torch.tensor(TIMES, dtype=torch.float64)
    with mpmath.workdps(50):
        survival = [float(exact(mpmath.mpf(time))) for time in TIMES]
        slopes = [float(mpmath.diff(exact, mpmath.mpf(time))) for time in TIMES]
    assert schedule.survival(t).tolist() == pytest.approx(survival, rel=1e-6, abs=1e-18)
    assert schedule.d_survival(t).tolist() == pytest.approx(slopes, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_what_is_destroyed_has_its_digits_near_clean_data(name):
    schedule, exact = CASES[name]
    times = (1e-50, 1e-10, 5e-4, 0.1, 0.9, 1 - 1e-9)
    t = torch.tensor(times, dtype=torch.float64)
    with mpmath.workdps(300):
        points = [mpmath.mpf(time) for time in times]
        gone = [1 - exact(point) for point in points]
        log_odds = [float(mpmath.log(share / (1 - share))) for share in gone]
        weights = [float(-mpmath.diff(exact, point, h=point * 1e-40) / (1 - exact(point))) for point in points]
        between = [float((1 - exact(point) / exact(point * 3 / 4)) / (1 - exact(point))) for point in points]
    assert schedule.gone(t).tolist() == pytest.approx([float(share) for share in gone], rel=1e-12, abs=0)
    assert (-schedule.log_snr(t)).tolist() == pytest.approx(log_odds, rel=1e-7)
    assert (-schedule.d_survival(t) / schedule.gone(t)).tolist() == pytest.approx(weights, rel=1e-6, abs=0)
    ratio = schedule.gone_between(0.75 * t, t) / schedule.gone(t)
    assert ratio.tolist() == pytest.approx(between, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_the_total_is_minus_the_log_and_its_derivative_is_the_rate(name):
    schedule, _ = CASES[name]
    t = torch.tensor([0.05, 0.4, 0.8], dtype=torch.float64, requires_grad=True)
    total = schedule.total(t)
    (slope,) = torch.autograd.grad(total.sum(), t)
    torch.testing.assert_close(slope, schedule.rate(t).detach())
    torch.testing.assert_close(torch.exp(-total), schedule.survival(t))


@pytest.mark.parametrize("name", CASES)
def test_time_is_the_inverse_of_survival(name):
    schedule, _ = CASES[name]
    t = torch.tensor([0.01, 0.3, 0.99], dtype=torch.float64)
    torch.testing.assert_close(schedule.time(schedule.survival(t)), t)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: PolynomialSchedule(0.0), "exponent"), (lambda: PolynomialSchedule(math.inf), "exponent"),
        (lambda: LogLinearSchedule(remaining=1.0), "remaining"), (lambda: LogLinearSchedule(steps=0), "steps"),
        (lambda: PolynomialSchedule(-1.0), "exponent"), (lambda: LogLinearSchedule(remaining=-0.1), "remaining"),
        (lambda: GeometricSchedule(1.0, 1.0), "low"), (lambda: GeometricSchedule(1.0, math.inf), "low"),
        (lambda: SurvivalCosineSchedule(0), "steps"), (lambda: GeometricSchedule(steps=-1), "steps"),
        (lambda: GeometricSchedule(2.0, 1.0), "low"), (lambda: GeometricSchedule(0.0, 1.0), "low"),
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(make, key):
    with pytest.raises(ValueError, match=rf"schedule\.{key}"):
        make()


@pytest.mark.parametrize(
    "kind",
    [LogLinearSchedule, PolynomialSchedule, GeometricSchedule, SurvivalCosineSchedule, SurvivalSquaredCosineSchedule],
)
def test_one_step_is_enough(kind):
    schedule = kind(steps=1)
    assert schedule.steps == 1
    assert schedule.c_noise(torch.tensor([0.0, 1.0])).tolist() == [-1, 0]


@pytest.mark.parametrize("name", CASES)
def test_all_but_the_geometric_one_are_clean_at_time_0(name):
    """Then the last step leads there, and nothing is asked of a network at a time that it has not seen."""
    schedule, _ = CASES[name]
    assert schedule.ends_clean is (name != "geometric")
