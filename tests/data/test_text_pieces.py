import hashlib
import io

import pytest

from diffusion_lab.data.text_pieces import between, measure, pieces_of

PIECES = ["ab", "", "cdé", "f"]


def test_the_size_and_the_hash_are_those_of_the_whole_text():
    found = measure(PIECES)
    assert found.characters == 6
    assert found.hash == hashlib.blake2b("abcdéf".encode(), digest_size=16).hexdigest()
    assert measure(["abcdéf"]) == found
    assert measure(["abcdfé"]).hash != found.hash


@pytest.mark.parametrize("start", range(7))
@pytest.mark.parametrize("stop", range(7))
def test_a_part_of_a_text_is_that_of_all_pieces_together(start, stop):
    parts = list(between(PIECES, start, stop))
    assert "".join(parts) == "abcdéf"[start:stop]
    assert all(parts)


def test_nothing_is_read_after_the_end_of_a_part():
    pieces = iter(PIECES)
    assert list(between(pieces, 1, 5)) == ["b", "cdé"]
    assert next(pieces) == "f"


def test_a_file_comes_in_pieces():
    text = "0123456789" * 20_000
    pieces = list(pieces_of(io.StringIO(text)))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) < 100_000
