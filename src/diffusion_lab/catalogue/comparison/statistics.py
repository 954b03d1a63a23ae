"""Means over seeds, how far they can be trusted, and whether two of them differ.

The intervals are percentile bootstraps (Efron and Tibshirani 1993, chapter 13). With very few values such an interval
is too narrow (with three, it is the range of the values, and leaves a quarter of all means out), so `compare` asks a t
test, too, before it calls a difference one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000  # where there are too many to enumerate
_ENUMERATED = 50_000
_SEED = 0

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Summary:
    """Of n numbers: mean, standard deviation (n − 1 in the denominator) and the interval of the mean.

    With one number there is no spread: `std`, `low` and `high` are NaN.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Of two means, a − b.

    Attributes:
        mean: a − b.
        low, high: its bootstrap interval; NaN where either side has one value.
        p: of the two-sided t test; NaN likewise.
        paired: whether both have the same units (seeds), so that differences were taken unit by unit.
        n: how many values a and b have.
    """

    mean: float
    low: float
    high: float
    p: float
    paired: bool
    n: tuple[int, int]

    @property
    def outside(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0

    @property
    def real(self) -> bool:
        """Whether the means differ by more than their spread explains: the interval and the t test say so."""
        return self.outside and self.p < 1 - LEVEL


def summary(values: Sequence[float]) -> Summary:
    """Of at least one finite number."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 1:
        return Summary(1, float(x[0]), math.nan, math.nan, math.nan)
    low, high = _interval(resampled_means(x))
    return Summary(len(x), float(x.mean()), float(x.std(ddof=1)), low, high)


def compare(a: Mapping[Any, float], b: Mapping[Any, float]) -> Difference:
    """The difference of the means of a and b, whose numbers are known by their unit: the seed of the run.

    With the same units it is that of the pairs: what a seed does to both is no noise then. Otherwise the sides are
    resampled each for itself, and the t test is Welch's.
    """
    x, y = np.array(list(a.values())), np.array(list(b.values()))
    n = len(x), len(y)
    mean, paired = float(x.mean() - y.mean()), a.keys() == b.keys()
    if min(n) < 2:
        return Difference(mean, math.nan, math.nan, math.nan, paired, n)
    if paired:
        pairs = np.array([a[unit] - b[unit] for unit in a])
        return Difference(mean, *_interval(resampled_means(pairs)), _paired_p(pairs), True, n)
    return Difference(mean, *_interval(_resampled_differences(x, y)), _welch_p(x, y), False, n)


def resampled_means(x: Array) -> Array:
    """The mean of every resample of x [n]: of all nⁿ where these are few, else of `RESAMPLES` that are drawn."""
    n = len(x)
    if n**n <= _ENUMERATED:
        return np.array(list(itertools.product(x, repeat=n))).mean(axis=1)
    return x[np.random.default_rng(_SEED).integers(n, size=(RESAMPLES, n))].mean(axis=1)


def _resampled_differences(x: Array, y: Array) -> Array:
    if len(x) ** len(x) * len(y) ** len(y) <= _ENUMERATED:
        return np.subtract.outer(resampled_means(x), resampled_means(y)).ravel()
    rng = np.random.default_rng(_SEED)
    means = [values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1) for values in (x, y)]
    return means[0] - means[1]


def _interval(means: Array) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def _paired_p(pairs: Array) -> float:
    return _two_sided_p(float(pairs.mean()), float(pairs.std(ddof=1) / math.sqrt(len(pairs))), len(pairs) - 1)


def _welch_p(x: Array, y: Array) -> float:
    """Welch's t test, with the degrees of freedom of Welch and Satterthwaite."""
    parts = [float(values.var(ddof=1)) / len(values) for values in (x, y)]
    spread = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (x, y), strict=True))
    degrees = sum(parts) ** 2 / spread if spread else len(x) + len(y) - 2
    return _two_sided_p(float(x.mean() - y.mean()), math.sqrt(sum(parts)), degrees)


def _two_sided_p(difference: float, error: float, degrees: float) -> float:
    """The probability of a t statistic at least this far from zero, where the means are equal."""
    if error <= 1e-12 * abs(difference):  # no spread: every pair has the same difference, or all values are equal
        return 0.0 if difference else 1.0
    from scipy.special import stdtr  # imported here since it takes as long to load as NumPy

    return float(2 * stdtr(degrees, -abs(difference) / error))
