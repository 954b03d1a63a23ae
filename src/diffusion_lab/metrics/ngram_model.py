"""A language model of n-grams with interpolated Witten–Bell smoothing, in sorted arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: How many tokens of a text are counted at a time.
_CHUNK = 2**22


class NgramModel:
    """The probability of each token given those before it, from the counts c of a text.

    With the context h of n − 1 tokens, h' the same without its first one, and T(h) the number of different tokens that
    follow h (Witten & Bell 1991; Chen & Goodman 1999, eq. 15 and 16):

        p(w | h) = [c(h w) + T(h) p(w | h')] / [c(h) + T(h)],

    down to p(w) = 1/V. A context that the text does not have, or that the beginning of a sequence cuts off, leaves the
    probability of the shorter one.

    Args:
        text: [M] token ids of any integer type.
        order: the most tokens of an n-gram; 0 for p(w) = 1/V.
        vocab_size: V.

    Raises:
        ValueError: if n-grams of so many tokens cannot be told apart by 64-bit numbers.
    """

    def __init__(self, text: np.ndarray, order: int, vocab_size: int) -> None:
        check_order(order, vocab_size)
        self.order = order
        self.vocab_size = vocab_size
        self._tables = [_Table.of(text, n, vocab_size) for n in range(1, order + 1)]

    def log_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Return the log-probability [N, L] float64, in nats, of each token of sequences [N, L] given those before it.

        Raises:
            ValueError: if an id is that of no token.
        """
        if sequences.size and not (sequences.min() >= 0 and sequences.max() < self.vocab_size):
            raise ValueError(f"sequences must hold ids of the {self.vocab_size:,} tokens, and some are none, or masks")
        probs = np.full(sequences.shape, 1 / self.vocab_size)
        for n, table in enumerate(self._tables, 1):
            if n > sequences.shape[1]:
                break
            codes = _codes(sequences, n, self.vocab_size)
            together = _values(table.codes, table.counts, codes)
            context = codes // self.vocab_size
            total, different = (
                _values(table.contexts, values, context) for values in (table.totals, table.continuations)
            )
            shorter = probs[:, n - 1 :]
            seen = (together + different * shorter) / np.maximum(total + different, 1)
            probs[:, n - 1 :] = np.where(total > 0, seen, shorter)
        return np.log(probs)


def check_order(order: int, vocab_size: int) -> None:
    """Raise ValueError if n-grams of this order cannot be told apart by 64-bit numbers."""
    if vocab_size**order >= 2**63:
        most = next(n for n in range(order, 0, -1) if vocab_size**n < 2**63)
        raise ValueError(f"order={order}: with {vocab_size:,} tokens an n-gram has at most {most} of them")


@dataclass(frozen=True)
class _Table:
    """The n-grams of a text, by their codes in ascending order, and their contexts.

    Attributes:
        codes: [K] of each different n-gram: its tokens as the digits of a number.
        counts: [K] how often it occurs.
        contexts: [C] the code of each different context: of all tokens but the last.
        totals: [C] how many n-grams have it.
        continuations: [C] how many different ones have it.
    """

    codes: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    continuations: np.ndarray

    @classmethod
    def of(cls, text: np.ndarray, n: int, base: int) -> _Table:
        codes = counts = np.zeros(0, np.int64)
        for first in range(0, len(text) - n + 1, _CHUNK):
            found, number = np.unique(_codes(text[first : first + _CHUNK + n - 1], n, base), return_counts=True)
            codes, counts = _summed(np.concatenate([codes, found]), np.concatenate([counts, number]))
        contexts, starts = np.unique(codes // base, return_index=True)
        totals = np.add.reduceat(counts, starts) if len(starts) else counts
        return cls(codes, counts, contexts, totals, np.diff(starts, append=len(codes)))


def _codes(tokens: np.ndarray, n: int, base: int) -> np.ndarray:
    """Return the code [..., L − n + 1] int64 of each n-gram of tokens [..., L]."""
    count = tokens.shape[-1] - n + 1
    codes = np.zeros((*tokens.shape[:-1], count), np.int64)
    for k in range(n):
        codes = codes * base + tokens[..., k : k + count]
    return codes


def _summed(codes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different codes in ascending order, and the sum of the counts of each."""
    order = codes.argsort(kind="stable")
    different, starts = np.unique(codes[order], return_index=True)
    return different, np.add.reduceat(counts[order], starts)


def _values(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the value of each wanted key, [...]; 0 where it is not among the keys [K], which ascend."""
    if not len(keys):
        return np.zeros(wanted.shape, np.int64)
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)
