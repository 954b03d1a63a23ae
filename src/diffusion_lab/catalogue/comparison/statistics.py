"""Means over runs, their confidence intervals, and tests of whether two means differ.

The intervals are percentile bootstrap intervals (Efron and Tibshirani 1993, chapter 13). From very few values they are
too narrow: from three, the interval is the range of the values, and misses the mean in a quarter of all cases. So a
difference counts as significant only if a t test agrees.

SciPy's bootstrap always draws its resamples at random. Here all resamples of few values are enumerated, so that the
interval is exact.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000  # drawn at random if there are more than can be enumerated
_MAX_ENUMERATED = 50_000
_SEED = 0

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n − 1 in the denominator) and bootstrap interval of the mean of n numbers.

    For n = 1, `std`, `low` and `high` are NaN.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class MeanDifference:
    """The difference a − b of two means.

    Attributes:
        mean: a − b.
        low, high: its bootstrap interval; NaN if a or b has only one value.
        p: p value of the two-sided t test; NaN if a or b has only one value.
        paired: whether a and b have the same units (seeds), so that the differences were taken unit by unit.
        n: how many values a and b have.
    """

    mean: float
    low: float
    high: float
    p: float
    paired: bool
    n: tuple[int, int]

    @property
    def interval_excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    @property
    def significant(self) -> bool:
        """Whether both the interval and the t test say that the means differ."""
        return self.interval_excludes_zero and self.p < 1 - LEVEL


def summarize(values: Sequence[float]) -> Summary:
    """Summarize at least one finite number."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 1:
        return Summary(1, float(x[0]), math.nan, math.nan, math.nan)
    low, high = _percentile_interval(resampled_means(x))
    return Summary(len(x), float(x.mean()), float(x.std(ddof=1)), low, high)


def compare_means(a: Mapping[Any, float], b: Mapping[Any, float]) -> MeanDifference:
    """Compare the means of a and b, which map units (such as the seed of a run) to numbers.

    If a and b have the same units, their differences are taken unit by unit, so that the effect which a seed has on
    both is no noise. Otherwise a and b are resampled independently, and the t test is Welch's.
    """
    x, y = np.array(list(a.values())), np.array(list(b.values()))
    n = len(x), len(y)
    mean, paired = float(x.mean() - y.mean()), a.keys() == b.keys()
    if min(n) < 2:
        return MeanDifference(mean, math.nan, math.nan, math.nan, paired, n)
    if paired:
        pairs = np.array([a[unit] - b[unit] for unit in a])
        return MeanDifference(mean, *_percentile_interval(resampled_means(pairs)), _paired_p(pairs), True, n)
    return MeanDifference(mean, *_percentile_interval(_resampled_differences(x, y)), _welch_p(x, y), False, n)


def power(difference: float, spread: float, n: int) -> float:
    """Return the probability that the t test of n pairs finds a difference between two means that really exists.

    Args:
        difference: the true difference of the means.
        spread: the standard deviation of the differences of pairs, above 0.
        n: how many pairs (seeds); with one nothing is found.

    Raises:
        ValueError: if the difference is not finite, or the spread not above 0.
    """
    if not (math.isfinite(difference) and 0 < spread < math.inf):
        raise ValueError(f"a finite difference and a spread above 0 are needed, got {difference} and {spread}")
    if n < 2:
        return 0.0
    from scipy.special import nctdtr, stdtrit  # imported here since it takes as long to load as NumPy

    shift, critical = abs(difference) / spread * math.sqrt(n), stdtrit(n - 1, (1 + LEVEL) / 2)
    missed, reversed_ = nctdtr(n - 1, shift, np.array([critical, -critical]))
    return float(1 - np.nan_to_num(missed) + np.nan_to_num(reversed_))  # SciPy has NaN for some that are nearly 0


def resampled_means(x: Array) -> Array:
    """Return the means of all nⁿ resamples of x [n], or of `RESAMPLES` random ones if these are too many."""
    n = len(x)
    if n**n <= _MAX_ENUMERATED:
        return np.array(list(itertools.product(x, repeat=n))).mean(axis=1)
    return x[np.random.default_rng(_SEED).integers(n, size=(RESAMPLES, n))].mean(axis=1)


def _resampled_differences(x: Array, y: Array) -> Array:
    if len(x) ** len(x) * len(y) ** len(y) <= _MAX_ENUMERATED:
        return np.subtract.outer(resampled_means(x), resampled_means(y)).ravel()
    rng = np.random.default_rng(_SEED)
    means = [values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1) for values in (x, y)]
    return means[0] - means[1]


def _percentile_interval(means: Array) -> tuple[float, float]:
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
    """The probability of a t statistic that is at least this far from zero if the means are equal."""
    if error <= 1e-12 * abs(difference):  # no spread: every pair has the same difference, or all values are equal
        return 0.0 if difference else 1.0
    from scipy.special import stdtr  # imported here since it takes as long to load as NumPy

    return float(2 * stdtr(degrees, -abs(difference) / error))
