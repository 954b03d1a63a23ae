"""Values from YAML are compared with annotations of every kind."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Optional, Union

import pytest
import torch

from diffusion_lab.config.annotations import choices, describe, fits, type_hints

FITS = [
    (int, [0, -3], [True, 2.0, "2", None, [1]]),
    (float, [0, -3, 1.5, float("inf")], [True, "1e-3", None, float("nan")]),
    (bool, [True, False], [0, 1, "true", None]),
    (str, ["", "a"], [1, None, True, ["a"]]),
    (int | None, [3, None], [2.5, "null", True]),
    (Optional[float], [3, 0.5, None], ["x", False]),  # noqa: UP045
    (Union[int, str], [3, "auto"], [2.5, True, None]),  # noqa: UP007
    (Literal["a", "b", 3], ["a", 3], ["c", 3.0, True, None, "3"]),
    (Literal[1], [1], [True, 1.0]),
    (Sequence[int], [[], [1, 2], (1, 2)], [3, [1, "x"], [True], "12", None]),
    (list[int] | str | int, [[0, 1], "auto", 2], [2.5, ["0"], None]),
    (tuple[float, float], [[0.9, 0.99], (0, 1)], [[0.9], [1, 2, 3], 0.9, ["a", "b"]]),
    (tuple[int, ...], [[], [1, 2, 3]], [["a"], 3]),
    (Iterable[str], [["a"], []], [[1], 3]),
    (dict[str, Any], [{}, {"a": 1}], [None, 3, ["a"]]),
    (Mapping[str, int], [{}], [3]),
    (Callable[[int], int], [abs, functools.partial(max, 1)], [3, "abs", None]),
    (float | torch.Tensor, [1, torch.zeros(())], ["x", None]),
    (torch.nn.Module, [torch.nn.Identity()], [torch.nn.Identity, "Identity", None]),
    (None, [None], [0, "null"]),
    (Any, [None, 3, "x", []], []),
]


@pytest.mark.parametrize(("hint", "good", "bad"), FITS, ids=lambda value: str(value)[:40])
def test_a_value_fits_or_not(hint, good, bad):
    assert [value for value in good if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "an integer"),
        (int | None, "an integer or null"),
        (None | float, "a number or null"),
        (float | int | None, "a number or null"),
        (Sequence[int], "a list of integers"),
        (list[int] | str | int, "a list of integers or text or an integer"),
        (tuple[float, float], "a list of 2: a number, a number"),
        (Literal["a", "b"], "one of a, b"),
        (Literal["a", 1] | Literal["b", "1"] | None, "one of a, 1, b or null"),
        (int | Literal["test"], "one of test or an integer"),
        (float | torch.Tensor, "a number"),
        (dict[str, Any], "a mapping"),
        (Callable[[int], int], "a node with a _target_"),
        (torch.nn.Module, "a Module"),
    ],
)
def test_what_is_accepted_is_said_in_words(hint, words):
    assert describe(hint) == words


def test_the_words_of_literals_are_choices():
    assert choices(Literal["a", 1] | Literal["b", "1"] | int) == ["a", "1", "b"]
    assert choices(int) == []


def test_annotations_are_those_of_the_constructor_and_none_where_they_cannot_be_read():
    class Plain:
        def __init__(self, size: int, rest: "Nowhere" = None): ...  # noqa: F821

    class Fine:
        def __init__(self, size: int): ...

    assert type_hints(Fine) == {"size": int}
    assert type_hints(Plain) == {}
    assert type_hints(len) == {}
