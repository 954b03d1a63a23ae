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


def test_of_what_did_not_survive_all_is_destroyed_later():
    one = torch.ones(1, dtype=torch.float64)
    assert LogLinearSchedule().gone_between(one, one).tolist() == [1]


def test_the_signal_is_what_survives_and_continuous_time_is_told_in_thousandths():
    assert torch.equal(LogLinearSchedule().signal(T), 1 - T)
    torch.testing.assert_close(LogLinearSchedule().c_noise(T), 1000 * T)


def test_curves_are_the_rate_and_what_survives_and_are_finite():
    schedule = LogLinearSchedule()
    rate, survival = schedule.curves()
    for curve, of in ((rate, schedule.rate), (survival, schedule.survival)):
        torch.testing.assert_close(curve.x, torch.arange(500, dtype=torch.float64) / 500)
        assert torch.equal(curve.y, of(curve.x))
        assert bool(curve.y.isfinite().all())
    assert [(curve.title, curve.x_label, curve.y_label) for curve in (rate, survival)] == [
        ("rate of destruction", "time t", "rate"),
        ("share of positions that survive", "time t", "survival"),
    ]
