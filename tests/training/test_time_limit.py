import math
from types import SimpleNamespace

import pytest
from pytorch_lightning.callbacks import Timer

from diffusion_lab.training.time_limit import seconds, stopped_by


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (None, math.inf), ("00:00:00:01", 1), ("00:00:01:30", 90), ("01:02:03:04", 93_784),
        ({"minutes": 2}, 120), ({"hours": 1, "seconds": 5}, 3605),
    ],
)  # fmt: skip
def test_a_limit_of_time_in_seconds(typed, expected):
    assert seconds(typed) == expected


@pytest.mark.parametrize(
    "typed",
    [
        "1h",
        "00:10",
        "1:2:3:x",
        {"minute": 3},
        {"hours": "two"},
        5,
        "00:00:00:00:00",
        "9" * 20 + ":00:00:00",
        "",
        "00:00:00:00",
        {"seconds": -1},
    ],
)
def test_what_is_no_time_is_refused_with_an_example(typed):
    with pytest.raises(ValueError, match=r"trainer\.max_time=.*such as 00:01:30:00"):
        seconds(typed)


class Remaining(Timer):
    """A timer with so many seconds left; None for one without a limit."""

    def __init__(self, left):
        super().__init__()
        self.left = left

    def time_remaining(self, stage=None):
        return self.left


@pytest.mark.parametrize(
    ("stops", "left", "expected"),
    [
        (False, [0.0], None),
        (True, [], "early_stopping"),
        (True, [None, 0.1], "early_stopping"),
        (True, [0.0], "max_time"),
        (True, [None, 5.0, -1.0], "max_time"),
    ],
)
def test_a_training_that_stops_is_stopped_by_its_time_or_by_its_rule(stops, left, expected):
    trainer = SimpleNamespace(should_stop=stops, callbacks=[object(), *map(Remaining, left)])
    assert stopped_by(trainer) == expected
