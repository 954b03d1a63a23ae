"""Whether the best row is significantly better than the next one, as one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diffusion_lab.catalogue.comparison.groups import Group
from diffusion_lab.catalogue.comparison.statistics import MeanDifference, compare_means
from diffusion_lab.catalogue.number_format import decimals_for_spread, format_number


@dataclass(frozen=True)
class RankingVerdict:
    """How the best row compares with the next one.

    Attributes:
        outcome: ``better`` (significantly), ``ahead`` (the interval excludes zero, but the t test does not confirm
            it), ``alike`` (no difference can be shown) or ``unknown`` (too few rows or runs to say).
        sentence: the outcome with its numbers.
        difference: of the two rows' means; None if there is only one row.
    """

    outcome: Literal["better", "ahead", "alike", "unknown"]
    sentence: str
    difference: MeanDifference | None = None


def ranking_verdict(
    ranked: Sequence[Group], metric: str, lower_is_better: bool, unit: Sequence[str] = ("seed",)
) -> RankingVerdict:
    """Compare the best two rows that have the metric.

    Args:
        ranked: rows, the best first.
        metric: name.
        lower_is_better: for this metric.
        unit: names of what distinguishes the runs of a row, by which runs are paired.
    """
    rows = [group for group in ranked if group.metric_values(metric)]
    if len(rows) < 2:
        return RankingVerdict("unknown", "There is only one config: there is nothing to compare.")
    best, second = rows[:2]
    difference = compare_means(best.metric_values(metric), second.metric_values(metric))
    decimals = decimals_for_spread((difference.high - difference.low) / 2)
    size = format_number(abs(difference.mean), decimals)
    claim = f"{metric} is {'lower' if lower_is_better else 'higher'} by {size}"
    if min(difference.n) < 2:
        return RankingVerdict(
            "unknown",
            f"{best.label} has the best {metric}, before {second.label} by {size}; with "
            f"{_runs(difference, unit)} this may be chance: it takes at least two seeds each, and better five.",
            difference,
        )
    # By how much the best row is better: worse is negative.
    ends = (-difference.high, -difference.low) if lower_is_better else (difference.low, difference.high)
    interval = " … ".join(_signed(end, decimals) for end in ends)
    test = "t test" if difference.paired else "Welch's t test"
    p = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.2g}"
    evidence = f"95 % interval {interval}; {_runs(difference, unit)}; {test}: {p}"
    if difference.significant:
        sentence = f"{best.label} is better than {second.label}: {claim} ({evidence})."
        return RankingVerdict("better", sentence, difference)
    if difference.interval_excludes_zero:
        sentence = f"{best.label} is ahead of {second.label}: {claim} ({evidence}). There are too few runs to be sure."
        return RankingVerdict("ahead", sentence, difference)
    sentence = f"{best.label} and {second.label} cannot be told apart: {claim} ({evidence})."
    return RankingVerdict("alike", sentence, difference)


def _runs(difference: MeanDifference, unit: Sequence[str]) -> str:
    """The numbers of runs of the two rows, and how they are paired."""
    a, b = difference.n
    pairs = f", paired by {' and '.join(unit)}" if difference.paired and a > 1 else ""
    if a == b:
        return f"{a} run{'s' * (a > 1)} each{pairs}"
    return f"{a} run{'s' * (a > 1)} and {b} run{'s' * (b > 1)}"


def _signed(value: float, decimals: int | None) -> str:
    return f"{'−' * (value < 0)}{format_number(abs(value), decimals)}"
