import math

import pytest

from diffusion_lab.training.time_limit import seconds


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
