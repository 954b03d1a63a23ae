"""The n-gram model against counts by hand, and against its formula with dictionaries."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from diffusion_lab.metrics import ngram_model
from diffusion_lab.metrics.ngram_model import NgramModel

TEXT = np.array([0, 1, 0, 1, 1], np.uint8)


def probs(model, *sequence):
    return np.exp(model.log_probs(np.array([sequence]))[0])


def test_probabilities_are_those_counted_by_hand():
    """c(0) = 2, c(1) = 3; c(01) = 2, c(10) = 1, c(11) = 1; V = 3."""
    unigram, bigram = (NgramModel(TEXT, order, 3) for order in (1, 2))
    assert [probs(unigram, w)[0] * 21 for w in range(3)] == pytest.approx([8, 11, 2])
    assert probs(bigram, 0, 1) == pytest.approx([8 / 21, (2 + 11 / 21) / 3])
    assert probs(bigram, 1, 0) == pytest.approx([11 / 21, (1 + 2 * 8 / 21) / 4])
    assert probs(bigram, 2, 0) == pytest.approx([2 / 21, 8 / 21])  # a context that is not in the text


@pytest.mark.parametrize(("text", "order"), [(TEXT, 0), (TEXT[:0], 4)])
def test_a_model_that_has_counted_nothing_is_uniform(text, order):
    assert NgramModel(text, order, 7).log_probs(np.arange(7)[None]).tolist() == [[math.log(1 / 7)] * 7]


@pytest.mark.parametrize("chunk", [3, 10_000])
def test_it_is_the_recursion_of_witten_and_bell(monkeypatch, chunk):
    monkeypatch.setattr(ngram_model, "_CHUNK", chunk)
    rng, size, order = np.random.default_rng(0), 4, 3
    text = rng.integers(0, size, 60)
    counts, followers = Counter(), defaultdict(set)
    for n in range(1, order + 1):
        for i in range(len(text) - n + 1):
            *context, last = text[i : i + n].tolist()
            counts[tuple(context), last] += 1
            followers[tuple(context)].add(last)

    def p(context, token):
        if context is None:
            return 1 / size
        shorter = p(context[1:] if context else None, token)
        total = sum(counts[context, w] for w in range(size))
        different = len(followers[context])
        return (counts[context, token] + different * shorter) / (total + different) if total else shorter

    model = NgramModel(text, order, size)
    for context in itertools.product(range(size), repeat=2):
        found = [probs(model, *context, w) for w in range(size)]
        assert sum(one[-1] for one in found) == pytest.approx(1)
        expected = [[p((), context[0]), p(context[:1], context[1]), p(context, w)] for w in range(size)]
        assert np.allclose(found, expected, rtol=1e-12)


def test_orders_beyond_64_bits_and_ids_of_no_token_are_refused():
    with pytest.raises(ValueError, match=r"order=5: with 10,000 tokens an n-gram has at most 4 of them"):
        NgramModel(TEXT, 5, 10_000)
    for no_token in (3, -1):
        with pytest.raises(ValueError, match="ids of the 3 tokens"):
            NgramModel(TEXT, 2, 3).log_probs(np.array([[0, no_token]]))


def test_few_tokens_are_counted_at_a_time_so_that_memory_does_not_grow_with_the_text(monkeypatch):
    sizes = []

    def record(tokens, n, base):
        sizes.append(8 * len(tokens))  # as 64-bit numbers
        return np.zeros(1, np.int64)

    monkeypatch.setattr(ngram_model, "_codes", record)
    NgramModel(np.zeros(10_000_000, np.uint8), 1, 3)
    assert max(sizes) < 40e6
    assert len(sizes) <= 3
