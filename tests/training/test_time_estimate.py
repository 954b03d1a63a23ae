"""The estimate with a clock that the tests set."""

import math

import pytest

from diffusion_lab.training.time_estimate import Estimate


class Clock:
    def __init__(self):
        self.now = 100.0
        self.waits = 0

    def __call__(self):
        return self.now

    def wait(self):
        self.waits += 1


def forecasts(clock, first, total, seconds_of):
    """Return all estimates, each with its step, for a training whose step n takes `seconds_of(n)` seconds."""
    estimate = Estimate(first, total, clock)
    made = []
    for step in range(first + 1, int(min(total, first + 1000)) + 1):
        clock.now += seconds_of(step)
        forecast = estimate.after(step, clock.wait)
        if forecast is not None:
            made.append((step, forecast))
    return made


def test_the_first_steps_take_time_and_do_not_count_for_the_speed():
    clock = Clock()
    ((step, forecast),) = forecasts(clock, 0, 1000, lambda n: 30 if n == 1 else 0.2)
    assert step == 23  # three to warm up, twenty to measure
    assert forecast.rate == pytest.approx(5)
    assert forecast.seconds == pytest.approx(30 + 999 * 0.2)
    assert clock.waits == 2


def test_a_resumed_run_counts_what_is_left_from_where_it_stands():
    ((step, forecast),) = forecasts(Clock(), 400, 1000, lambda n: 0.2)
    assert step == 423
    assert forecast.seconds == pytest.approx(600 * 0.2)


def test_slow_steps_are_judged_by_fewer_and_fast_ones_by_more():
    ((slow, of_slow),) = forecasts(Clock(), 0, 1000, lambda n: 4)
    assert slow == 6  # 12 s after the third
    assert of_slow.seconds == pytest.approx(4000)
    ((slower, _),) = forecasts(Clock(), 0, 1000, lambda n: 5)
    assert slower == 5  # 10 s after the third
    ((fast, of_fast),) = forecasts(Clock(), 0, 1000, lambda n: 1 / 64)
    assert fast == 3 + 128  # 2 s after the third
    assert of_fast.rate == 64


@pytest.mark.parametrize("total", [5, 23, math.inf])
def test_what_is_over_before_it_can_be_judged_or_never_ends_has_no_forecast(total):
    assert forecasts(Clock(), 0, total, lambda n: 0.2) == []


@pytest.mark.parametrize("seconds", [0.05, 12.0])
def test_a_step_of_several_micro_batches_is_one_step(seconds):
    clock = Clock()
    estimate = Estimate(0, 100, clock)
    made = []
    for micro in range(4 * 30):
        clock.now += seconds
        made.append(estimate.after((micro + 1) // 4, clock.wait))
    (forecast,) = [f for f in made if f is not None]
    assert forecast.rate == pytest.approx(1 / (4 * seconds))
    assert forecast.seconds == pytest.approx(400 * seconds)
