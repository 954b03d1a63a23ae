"""How much of a text stands, token by token, in another one."""

from __future__ import annotations

import numpy as np

#: How many tokens of the other text are looked at together.
_CHUNK = 2**20


def longest_copies(sequences: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Return how many tokens in a row, from each place of each sequence on, stand somewhere in a text.

    All windows of sequences and text are sorted by doubling their length (Manber & Myers 1993): the longest match of a
    window is with one of the two nearest windows of the text. A part of the text is looked at at a time, so that memory
    does not grow with it.

    Args:
        sequences: [N, L] token ids of any integer type.
        text: [M] token ids.

    Returns:
        [N, L] int64, at most what is left of the sequence.
    """
    longest = np.zeros(sequences.shape, np.int64)
    for first in range(0, len(text), _CHUNK):
        part = text[first : first + _CHUNK + sequences.shape[1] - 1]
        longest = np.maximum(longest, _longest_in(part, sequences))
    return longest


def share_copied(longest: np.ndarray, n: int) -> float:
    """Return the share of the n-grams of sequences that stand in the text, by their `longest_copies` [N, L], L ≥ n."""
    return float((longest[:, : longest.shape[1] - n + 1] >= n).mean())


def _longest_in(text: np.ndarray, sequences: np.ndarray) -> np.ndarray:
    """Return `longest_copies` [N, L] of sequences in a text that is looked at as a whole."""
    count, length = sequences.shape
    ended = np.zeros((count, length + 1), np.int64)  # 0 is the end of a sequence or of the text
    ended[:, :length] = sequences + 1
    joined = np.concatenate([text.astype(np.int64) + 1, [0], ended.ravel()])
    ranks = [joined.astype(np.int32)]  # of windows of 1, 2, 4, … tokens
    while 2 ** len(ranks) <= length:
        rank, width = ranks[-1].astype(np.int64), 2 ** (len(ranks) - 1)
        ranks.append(_ranks(rank * (np.max(rank) + 1) + _moved(rank, width)))
    # Once more: two windows of the last width differ beyond it.
    last = ranks[-1].astype(np.int64)
    order = (last * (np.max(last) + 1) + _moved(last, 2 ** (len(ranks) - 1))).argsort(kind="stable")
    of_text = np.where(order < len(text), order, -1)
    places = np.arange(len(order))
    before = np.maximum.accumulate(np.where(of_text >= 0, places, -1))
    after = np.minimum.accumulate(np.where(of_text >= 0, places, len(order))[::-1])[::-1]
    longest = np.zeros(len(joined), np.int64)
    for neighbour in (before, after):
        there = (neighbour >= 0) & (neighbour < len(order)) & (of_text < 0)
        start, other = order[there], order[neighbour[there]]
        longest[start] = np.maximum(longest[start], _common(ranks, start, other))
    left = np.arange(length, 0, -1)
    return np.minimum(longest[len(text) + 1 :].reshape(count, length + 1)[:, :length], left)


def _ranks(keys: np.ndarray) -> np.ndarray:
    """Return the place [K] int32 of each key among the different ones, in ascending order."""
    return np.unique(keys, return_inverse=True)[1].astype(np.int32)


def _moved(ranks: np.ndarray, width: int) -> np.ndarray:
    """Return the rank [K] that stands `width` places further on; 0, that of an end, beyond the last one."""
    return np.concatenate([ranks[width:], np.zeros(min(width, len(ranks)), ranks.dtype)])


def _common(ranks: list[np.ndarray], start: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how many tokens the windows from `start` and `other` on have in common, [K]; both are places."""
    common = np.zeros(len(start), np.int64)
    size = len(ranks[0])
    for number in reversed(range(len(ranks))):
        one, two = start + common, other + common
        inside = (one < size) & (two < size)
        same = inside & (ranks[number][one.clip(max=size - 1)] == ranks[number][two.clip(max=size - 1)])
        common += np.where(same, 2**number, 0)
    return common
