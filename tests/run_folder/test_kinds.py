"""What a JSON file claims is of the kind that is read from it, or is named."""

import math
from pathlib import Path

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.kinds import (
    are_mappings,
    are_texts,
    check_kinds,
    is_mapping,
    is_number,
    matching,
    whole_number,
)


@pytest.mark.parametrize(
    ("check", "holds", "does_not"),
    [
        (is_number, [0, -1, 2.5, 10**30], [True, False, None, "1", math.nan, math.inf, -math.inf, [1]]),
        (whole_number(2, 5), [2, 3, 5], [1, 6, 2.0, True, "3", None]),
        (whole_number(0, 1), [0, 1], [False, True, -1, 2]),
        (matching("[a-f0-9]{4}"), ["00ff"], ["00f", "00fff", "00ff\n", "x00ff", 1234, None]),
        (matching("a.b"), ["a b", "a\nb"], ["ab", "a.bc"]),
        (is_mapping, [{}, {"a": 1}], [[], None, "{}", [("a", 1)]]),
        (are_texts, [[], ["a", "b"]], [["a", 1], "ab", ("a",), None, [["a"]]]),
        (are_mappings, [[], [{}, {"a": 1}]], [[{}, 1], {}, None, [[]]]),
    ],
)
def test_a_check_holds_for_its_kind_alone(check, holds, does_not):
    assert [check(value) for value in holds] == [True] * len(holds)
    assert [check(value) for value in does_not] == [False] * len(does_not)


KINDS = {"step": ("a whole number", whole_number(0, 10)), "name": ("a text", matching(".*"))}
FILE = Path("run") / "manifest.json"


def refusal(node, **more):
    with pytest.raises(LabError) as error:
        check_kinds(node, KINDS, FILE, **more)
    return str(error.value)


def test_fields_may_be_absent_or_none_unless_they_are_needed():
    for node in ({}, {"step": None}, {"step": 3, "name": "x"}, {"step": 3, "else": object()}):
        check_kinds(node, KINDS, FILE)
    check_kinds({"step": 3}, KINDS, FILE, needed=("step",))
    assert refusal({"name": "x"}, needed=("step", "name")) == f"{FILE} is damaged: it does not say step"
    assert "step is None, and must be a whole number" in refusal({"step": None}, needed=("step",))


def test_the_first_field_of_another_kind_is_named_with_its_place():
    said = refusal({"name": 7, "step": "three"}, where="sessions[2].")
    assert said == f"{FILE} is damaged: sessions[2].step is 'three', and must be a whole number"


@pytest.mark.parametrize(("length", "shown"), [(58, f"'{'x' * 58}'"), (59, f"'{'x' * 56}...")])
def test_a_long_value_is_cut_to_sixty_characters(length, shown):
    assert f"step is {shown}, and must be" in refusal({"step": "x" * length})
    assert len(shown) == 60


def test_odd_letters_are_shown_by_their_codes():
    assert "'\\x1b[2J\\u1fbd'" in refusal({"step": "\x1b[2J\u1fbd"})
