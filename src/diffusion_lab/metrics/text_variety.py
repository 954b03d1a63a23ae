"""How varied texts are: the entropy of their tokens, and the share of their n-grams that are different."""

from __future__ import annotations

import numpy as np


def token_entropy(tokens: np.ndarray) -> float:
    """Return the entropy in nats of the tokens of a text or of several, [...], by how often each occurs."""
    counts = np.unique(tokens, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def share_distinct(sequences: np.ndarray, n: int) -> float:
    """Return the number of different n-grams over that of all n-grams of sequences [N, L], L ≥ n (Li et al. 2016)."""
    ids = sequences.astype(np.int64)
    for k in range(1, n):
        tokens = sequences[:, k : k + ids.shape[1] - 1].astype(np.int64)
        pairs = ids[:, :-1] * (np.max(tokens) + 1) + tokens
        ids = np.unique(pairs, return_inverse=True)[1].reshape(pairs.shape)
    return len(np.unique(ids)) / ids.size
