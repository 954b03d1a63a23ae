import pytest

from diffusion_lab.machine import bfloat16_speed
from diffusion_lab.machine.bfloat16_speed import slowdown, time_in_turns


@pytest.mark.parametrize(
    ("float32", "bfloat16", "ratio"),
    [
        ([1.0, 2.0, 1.0], [8.0, 14.0, 9.0], 8.0),
        ([1.0], [1.5], 1.5),
        ([1.0, 1.0, 1.0], [0.5, 0.6, 0.5], None),  # bfloat16 is faster
        ([1.0, 1.0, 1.0], [1.1, 1.15, 1.1], None),  # they are about the same
        ([1.0, 1.0, 9.0], [8.0, 8.0, 8.0], None),  # one turn was disturbed
    ],
)
def test_float32_is_clearly_faster_where_every_turn_and_the_median_say_so(float32, bfloat16, ratio):
    assert slowdown(float32, bfloat16) == ratio


class Clock:
    """Time passes only while work is done: so many seconds for each sample, by precision."""

    def __init__(self, float32, bfloat16):
        self.now, self.done = 0.0, []
        self.float32, self.bfloat16 = (self.work(name, s) for name, s in (("32", float32), ("16", bfloat16)))

    def work(self, name, seconds):
        def work(samples):
            self.now += seconds * samples
            self.done.append((name, samples))

        return work

    def perf_counter(self):
        return self.now


def timed(monkeypatch, clock, size, seconds):
    monkeypatch.setattr(bfloat16_speed, "time", clock)
    return time_in_turns(clock.float32, clock.bfloat16, size, seconds)


def test_the_precisions_take_turns_at_the_size_that_is_asked_for(monkeypatch):
    clock = Clock(0.001, 0.004)
    fast, slow = timed(monkeypatch, clock, 10, 1.0)
    assert fast == pytest.approx([0.01] * 7)
    assert slow == pytest.approx([0.04] * 7)
    assert clock.done[-14:] == [("32", 10), ("16", 10)] * 7
    assert clock.now < 1.0


@pytest.mark.parametrize("size", [1, 64, 512])
def test_large_work_is_timed_on_fewer_samples(monkeypatch, size):
    clock = Clock(0.01, 0.09)
    fast, slow = timed(monkeypatch, clock, size, 1.0)
    assert slowdown(fast, slow) == pytest.approx(9)
    assert clock.now < 2.0


def test_a_whole_batch_is_timed_where_it_fits_into_the_time_twice(monkeypatch):
    clock = Clock(0.003, 0.004)
    fast, _ = timed(monkeypatch, clock, 128, 3.0)
    assert fast == pytest.approx([0.003 * 128] * len(fast))


def test_work_that_takes_long_for_a_single_sample_is_timed_once(monkeypatch):
    clock = Clock(1.0, 30.0)
    assert timed(monkeypatch, clock, 64, 0.5) == ([1.0], [30.0])
    assert len(clock.done) == 4
