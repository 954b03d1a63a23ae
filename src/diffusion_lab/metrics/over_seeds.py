"""Measures of samples over several sampling seeds, beside those of real items: their means and spreads."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

#: The most sampling seeds of an evaluation: a spread is known to two per cent by then.
MOST_SEEDS = 1000


def over_seeds(samples: Sequence[Mapping[str, float]], floor: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each measure's mean over the seeds, its spread (standard deviation) and its floor.

    They are called ``fid``, ``fid_spread``, ``fid_floor`` and ``fid_floor_spread``; there is no spread for one seed.

    Args:
        samples: the measures of each sampling seed by name; at least one.
        floor: the same of each choice of real items; at least one.
    """
    found: dict[str, float] = {}
    for name in samples[0]:
        for values, key in ((samples, name), (floor, f"{name}_floor")):
            found |= _mean_and_spread([one[name] for one in values], key)
    return found


def beside_real(samples: Sequence[Mapping[str, float]], floor: Sequence[Mapping[str, float]], name: str) -> str:
    """Return a measure's mean, spread and floor as text, as in ``3.2 ± 0.1 (real 0.5 ± 0.01)``."""
    of_samples, real = (
        " ± ".join(f"{value:.3g}" for value in _mean_and_spread([one[name] for one in sets], "").values())
        for sets in (samples, floor)
    )
    return f"{of_samples} (real {real})"


def seeds_in_words(count: int) -> str:
    """Return the number of sampling seeds as text."""
    return f"{count} seeds" if count > 1 else "one seed, spread n/a"


def _mean_and_spread(values: Sequence[float], name: str) -> dict[str, float]:
    found = {name: statistics.fmean(values)}
    if len(values) > 1:
        found[f"{name}_spread"] = statistics.stdev(values)
    return found
