"""What every rate schedule has, from its survival and its rate."""

import pytest
import torch

from diffusion_lab.schedules import LogLinearSchedule

T = torch.tensor([0.0, 0.25, 0.9], dtype=torch.float64)


def test_the_total_is_the_integral_of_the_rate():
    for t in T.tolist():
        grid = torch.linspace(0, t, 20_001, dtype=torch.float64)
        integral = torch.trapezoid(LogLinearSchedule().rate(grid), grid)
        assert float(LogLinearSchedule().total(torch.tensor(t))) == pytest.approx(float(integral), rel=1e-6, abs=1e-9)


def test_the_rate_is_infinite_where_nothing_survives():
    assert LogLinearSchedule().rate(torch.ones(1, dtype=torch.float64)).item() == torch.inf


def test_nothing_survives_an_infinite_total():
    assert LogLinearSchedule().total(torch.ones(1, dtype=torch.float64)).item() == torch.inf


def test_the_signal_is_what_survives_and_continuous_time_is_told_in_thousandths():
    assert torch.equal(LogLinearSchedule().signal(T), 1 - T)
    torch.testing.assert_close(LogLinearSchedule().c_noise(T), 1000 * T)


def test_curves_are_finite():
    assert all(bool(curve.y.isfinite().all()) for curve in LogLinearSchedule().curves())
