"""Means, intervals and t tests, against enumeration, tables, mpmath and scipy.stats."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy.stats

from diffusion_lab.catalogue.comparison import statistics
from diffusion_lab.catalogue.comparison.statistics import compare_means, power, resampled_means, summarize


def percentiles(values):
    """The 2.5 % and 97.5 % points of equally likely values: the smallest value with at least that share at or below."""
    values = sorted(values)
    return tuple(values[math.ceil(share * len(values)) - 1] for share in (0.025, 0.975))


def test_three_values_have_27_resamples():
    means = resampled_means(np.array([1.0, 2.0, 6.0]))
    by_hand = [(a + b + c) / 3 for a in (1, 2, 6) for b in (1, 2, 6) for c in (1, 2, 6)]
    assert len(means) == 27
    assert sorted(means) == pytest.approx(sorted(by_hand))


@pytest.mark.parametrize("values", [[0.3, 0.5], [1.0, 2.0, 6.0], [0.1, 0.4, 0.2, 0.9], [3.0, 1.0, 4.0, 1.0, 5.0]])
def test_the_interval_is_that_of_all_resamples(values):
    found = summarize(values)
    low, high = percentiles([sum(draw) / len(values) for draw in itertools.product(values, repeat=len(values))])
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(sum(values) / len(values))
    assert found.std == pytest.approx(scipy.stats.tstd(values))
    assert found.n == len(values)


def test_with_three_values_the_interval_is_their_range():
    assert (summarize([1.0, 2.0, 6.0]).low, summarize([1.0, 2.0, 6.0]).high) == (1.0, 6.0)


def test_with_many_values_the_interval_is_scipy_s():
    values = np.random.default_rng(1).gamma(2.0, size=40)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    found = summarize(values)
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)
    assert summarize(values) == found


def test_one_value_has_no_spread():
    found = summarize([0.5])
    assert (found.n, found.mean) == (1, 0.5)
    assert math.isnan(found.std)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize(
    ("pairs", "t", "p"),
    [((1, 2, 3, 4, 5), 2.7764, 0.05), ((1, 2, 3), 2.9200, 0.1), ((1, 2), 12.706, 0.05), ((1, 2, 3, 4), 5.8409, 0.01)],
)
def test_the_p_value_of_pairs_is_that_of_the_tables(pairs, t, p):
    """Critical values of Student's t, two-sided, with n − 1 degrees of freedom."""
    error = np.std(pairs, ddof=1) / math.sqrt(len(pairs))
    shift = t * error - np.mean(pairs)
    shifted = {str(i): value + shift for i, value in enumerate(pairs)}
    found = compare_means(shifted, dict.fromkeys(shifted, 0.0))
    assert found.p == pytest.approx(p, rel=1e-4)


def test_equal_units_are_compared_in_pairs():
    a, b = {"1": 0.50, "2": 0.71, "3": 0.64}, {"3": 0.70, "1": 0.57, "2": 0.75}
    found = compare_means(a, b)
    differences = [a[unit] - b[unit] for unit in "123"]
    assert found.paired
    assert found.mean == pytest.approx(sum(differences) / 3)
    assert (found.low, found.high) == pytest.approx((min(differences), max(differences)))
    x, y = [a[unit] for unit in "123"], [b[unit] for unit in "123"]
    assert found.p == pytest.approx(scipy.stats.ttest_rel(x, y).pvalue)
    assert found.n == (3, 3)


def test_unequal_units_are_resampled_independently():
    x, y = [0.50, 0.71, 0.64], [0.90, 0.85]
    found = compare_means({"1": x[0], "2": x[1], "3": x[2]}, {"4": y[0], "5": y[1]})
    pairs = itertools.product(itertools.product(x, repeat=3), itertools.product(y, repeat=2))
    assert not found.paired
    assert (found.low, found.high) == pytest.approx(percentiles([sum(a) / 3 - sum(b) / 2 for a, b in pairs]))
    assert found.mean == pytest.approx(sum(x) / 3 - sum(y) / 2)


def test_unpaired_intervals_of_many_values_are_drawn_and_close_to_scipy_s():
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, 20), rng.normal(0.5, 2, 30)
    found = compare_means({f"a{i}": v for i, v in enumerate(x)}, {f"b{i}": v for i, v in enumerate(y)})
    expected = scipy.stats.bootstrap(
        (x, y),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=rng,
    ).confidence_interval
    assert found.low == pytest.approx(expected.low, abs=0.06)
    assert found.high == pytest.approx(expected.high, abs=0.06)


def test_the_unpaired_test_is_welch_s():
    x, y = [0.50, 0.71, 0.64, 0.60], [0.90, 0.85, 1.4]
    found = compare_means({str(i): v for i, v in enumerate(x)}, {f"y{i}": v for i, v in enumerate(y)})
    assert found.p == pytest.approx(scipy.stats.ttest_ind(x, y, equal_var=False).pvalue, rel=1e-12)


def test_welch_s_test_by_hand():
    """Variances 4 and 100/3, so t = −5 / √(4/3 + 25/3) and ν = (4/3 + 25/3)² / ((4/3)²/2 + (25/3)²/3) = 3.888."""
    found = compare_means({"a": 1.0, "b": 3.0, "c": 5.0}, {"d": 3.0, "e": 3.0, "f": 13.0, "g": 13.0})
    t, degrees = 5 / math.sqrt(29 / 3), (29 / 3) ** 2 / (8 / 9 + 625 / 27)
    assert degrees == pytest.approx(3.888, abs=5e-4)
    tail = mpmath.betainc(degrees / 2, 0.5, 0, degrees / (degrees + t**2), regularized=True)
    assert found.p == pytest.approx(float(tail), rel=1e-12)


def test_one_value_is_never_significant():
    found = compare_means({"1": 0.5}, {"1": 0.7})
    assert found.mean == pytest.approx(-0.2)
    assert math.isnan(found.p)
    assert not found.significant
    assert not found.interval_excludes_zero


def test_a_constant_difference_is_significant_unless_it_is_zero():
    assert compare_means({"1": 0.5, "2": 0.6}, {"1": 0.4, "2": 0.5}).significant
    found = compare_means({"1": 0.5, "2": 0.6}, {"1": 0.5, "2": 0.6})
    assert (found.mean, found.p) == (0, 1)
    assert not found.significant


@pytest.mark.parametrize("units", ["the same", "others"])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_equal_means_differ_significantly_in_at_most_one_of_twenty_cases(n, units):
    """The bootstrap interval alone would be wrong in a quarter of all cases and more."""
    rng = np.random.default_rng(n)
    cases, significant, excluded = 600, 0, 0
    for _ in range(cases):
        x, y = rng.normal(size=(2, n))
        second = {f"{i}{units}" if units == "others" else str(i): v for i, v in enumerate(y)}
        found = compare_means({str(i): v for i, v in enumerate(x)}, second)
        significant += found.significant
        excluded += found.interval_excludes_zero
    assert significant <= 0.075 * cases
    assert excluded > significant


def test_a_difference_beyond_the_spread_is_significant():
    rng = np.random.default_rng(0)
    x = rng.normal(0.0, 0.01, 3)
    y = x + 0.1 + rng.normal(0, 0.005, 3)
    assert compare_means(dict(enumerate(x)), dict(enumerate(y))).significant


def test_the_level_is_that_of_the_tables_headings():
    assert statistics.LEVEL == 0.95


@pytest.mark.parametrize(("difference", "spread", "n"), [(0.3, 0.2, 3), (-0.1, 0.1, 10), (0.0, 1.0, 5)])
def test_power_is_the_share_of_simulated_comparisons_with_a_small_p(difference, spread, n):
    pairs = np.random.default_rng(0).normal(difference, spread, (20_000, n))
    share = float((scipy.stats.ttest_1samp(pairs, 0, axis=1).pvalue < 0.05).mean())
    assert power(difference, spread, n) == pytest.approx(share, abs=4 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("ratio", [0.5, 1, 2, 4, 8, 30, 1000])
def test_power_grows_with_the_number_of_pairs_up_to_1(ratio):
    found = [power(ratio, 1.0, n) for n in range(2, 40)]
    assert np.all(np.diff(found) > -1e-12)
    assert all(0.05 < one <= 1 + 1e-12 for one in found)


@pytest.mark.parametrize("difference", [math.nan, math.inf, -math.inf])
def test_there_is_no_power_of_a_difference_that_is_no_number(difference):
    with pytest.raises(ValueError, match=f"a spread above 0 are needed, got {difference} and 0.5"):
        power(difference, 0.5, 3)


@pytest.mark.parametrize("spread", [0.0, -1.0, math.nan, math.inf])
def test_there_is_no_power_of_a_spread_that_is_none(spread):
    with pytest.raises(ValueError, match=f"a spread above 0 are needed, got 0.1 and {spread}"):
        power(0.1, spread, 3)


def test_one_pair_finds_nothing():
    assert power(1.0, 0.1, 1) == 0
