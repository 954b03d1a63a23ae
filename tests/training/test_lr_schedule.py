import math

import pytest

from diffusion_lab.training.lr_schedule import LearningRateSchedule


@pytest.mark.parametrize("step", [0, 1, 1000, 10**9])
def test_by_default_the_rate_is_constant(step):
    assert LearningRateSchedule().factor(step) == 1


def test_warm_up_rises_linearly_from_the_first_step_and_ends_at_the_full_rate():
    schedule = LearningRateSchedule(warmup_steps=4)
    assert [schedule.factor(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("warmup", [0, 100])
def test_the_decay_is_half_a_cosine_from_the_end_of_the_warm_up_to_the_horizon(warmup, final):
    schedule = LearningRateSchedule(warmup, warmup + 300, final)
    quarters = {0: 1, 50: (2 + math.sqrt(3)) / 4, 100: 3 / 4, 150: 1 / 2, 200: 1 / 4, 300: 0}
    for after, share in quarters.items():
        assert schedule.factor(warmup + after) == pytest.approx(final + (1 - final) * share, abs=1e-12)


@pytest.mark.parametrize("final", [0.0, 0.1])
@pytest.mark.parametrize("step", [300, 301, 5000])
def test_at_the_horizon_and_after_it_the_final_fraction_is_left(step, final):
    assert LearningRateSchedule(20, 300, final).factor(step) == pytest.approx(final, abs=1e-15)


def test_the_rate_never_rises_after_the_warm_up():
    schedule = LearningRateSchedule(10, 200, 0.05)
    factors = [schedule.factor(step) for step in range(9, 250)]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warmup_steps": -1}, "warmup_steps must not be negative, got -1"),
        ({"warmup_steps": 5, "decay_steps": 5}, "decay_steps must be larger than lr_schedule.warmup_steps=5, got 5"),
        ({"decay_steps": 0}, "decay_steps must be larger than lr_schedule.warmup_steps=0, got 0"),
        ({"decay_steps": -7}, "decay_steps must be larger than lr_schedule.warmup_steps=0, got -7"),
        ({"final_fraction": -0.1}, "final_fraction must lie between 0 and 1, got -0.1"),
        ({"final_fraction": 1.1}, "final_fraction must lie between 0 and 1, got 1.1"),
        ({"final_fraction": math.nan}, "final_fraction must lie between 0 and 1, got nan"),
    ],
)
def test_arguments_out_of_range_are_refused_by_key(arguments, message):
    with pytest.raises(ValueError, match=r"^lr_schedule\.") as caught:
        LearningRateSchedule(**arguments)
    assert str(caught.value) == f"lr_schedule.{message}"
