"""Which times a sampler of fewer steps visits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator


def trailing(total: int, steps: int) -> Iterator[tuple[float, float]]:
    """Pairs (t, s) of `steps` even steps over the grid n/total, from 1 down to 0, that start at pure noise.

    For total = 1000 and steps = 10 the step indices i = t·1000 − 1 are 999, 899, …, 99 (Lin et al. 2023, table 2).
    """
    rows = [round(total * k / steps) for k in range(steps, -1, -1)]
    for row, next_row in itertools.pairwise(rows):
        yield row / total, next_row / total
