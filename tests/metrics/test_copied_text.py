"""Copies are found wherever they stand, as by looking at every pair of places."""

import numpy as np
import pytest

from diffusion_lab.metrics import copied_text
from diffusion_lab.metrics.copied_text import longest_copies, share_copied


def in_common(one, other):
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length


@pytest.mark.parametrize("chunk", [5, 10_000])
@pytest.mark.parametrize(("tokens", "length"), [(1, 4), (2, 7), (2, 9), (2, 15), (3, 8), (50, 7)])
def test_the_longest_copies_are_those_of_all_pairs(monkeypatch, chunk, tokens, length):
    monkeypatch.setattr(copied_text, "_CHUNK", chunk)
    rng = np.random.default_rng(tokens)
    text, sequences = rng.integers(0, tokens, 40), rng.integers(0, tokens, (6, length))
    sequences[0, 2:6] = text[-length:][-4:][: length - 2]  # the end of the text
    expected = [
        [max(in_common(sequence[i:], text[k:]) for k in range(len(text))) for i in range(length)]
        for sequence in sequences
    ]
    assert longest_copies(sequences, text).tolist() == expected


def test_sequences_of_the_text_are_copied_whole_and_those_of_other_tokens_not_at_all():
    text = np.random.default_rng(0).integers(0, 9, 200).astype(np.uint8)
    longest = longest_copies(np.stack([text[7:23], text[100:116], np.full(16, 9)]).astype(np.int64), text)
    assert longest[:2].tolist() == [list(range(16, 0, -1))] * 2
    assert not longest[2].any()
    for n in (1, 4, 16):
        assert share_copied(longest[:2], n) == 1
        assert share_copied(longest, n) == pytest.approx(2 / 3)


def test_the_share_of_copied_ngrams_counted_by_hand():
    """Of the bigrams ab, bc and cx two stand in the text, ab and bc; of the trigrams none does."""
    text, sequence = np.array([0, 1, 7, 1, 2, 7]), np.array([[0, 1, 2, 5]])
    longest = longest_copies(sequence, text)
    assert longest.tolist() == [[2, 2, 1, 0]]
    assert [share_copied(longest, n) for n in (1, 2, 3)] == [3 / 4, 2 / 3, 0]


def test_memory_does_not_grow_with_the_text(monkeypatch):
    """Each token of a part takes some tens of bytes while it is looked at: a part of a million, some tens of MB."""
    parts = []

    def record(text, sequences):
        parts.append(len(text))
        return np.zeros(sequences.shape, np.int64)

    monkeypatch.setattr(copied_text, "_longest_in", record)
    longest_copies(np.zeros((1, 8), np.int64), np.zeros(5_000_000, np.uint8))
    assert max(parts) < 1.1e6
    assert len(parts) <= 5


@pytest.mark.parametrize("length", [7, 15])
def test_of_two_copies_that_differ_in_their_last_token_the_longer_one_counts_wherever_it_stands(length):
    sequence = np.arange(1, length + 1)
    shorter = np.append(sequence[:-1], 0)
    for both in ((sequence, shorter), (shorter, sequence)):
        assert longest_copies(sequence[None], np.concatenate(both)).tolist() == [list(range(length, 0, -1))]
