"""Entropy and different n-grams, counted by hand."""

import math

import numpy as np
import pytest

from diffusion_lab.metrics.text_variety import share_distinct, token_entropy


def test_entropy_is_that_of_the_shares_of_tokens():
    assert token_entropy(np.full(9, 4)) == 0
    assert token_entropy(np.arange(8)) == pytest.approx(math.log(8))
    assert token_entropy(np.array([[0, 0], [0, 1]])) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


def test_different_ngrams_are_counted_over_all_sequences_and_not_across_them():
    sequences = np.array([[0, 1, 0, 1], [1, 0, 1, 1]])
    assert share_distinct(sequences, 1) == 2 / 8
    assert share_distinct(sequences, 2) == 3 / 6  # 01, 10, 11
    assert share_distinct(sequences, 3) == 3 / 4  # 010, 101, 011
    assert share_distinct(sequences, 4) == 1


def test_a_thousand_different_tokens_make_as_many_bigrams():
    assert share_distinct(np.random.default_rng(0).permutation(60_000)[None], 4) == 1


@pytest.mark.parametrize("tokens", [2, 3, 40])
def test_different_ngrams_are_those_of_a_set_of_tuples(tokens):
    sequences = np.random.default_rng(tokens).integers(0, tokens, (8, 30))
    for n in range(1, 8):
        every = [tuple(row[i : i + n]) for row in sequences.tolist() for i in range(30 - n + 1)]
        assert share_distinct(sequences, n) == len(set(every)) / len(every)
