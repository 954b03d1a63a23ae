"""Whether the best row is better than the next, in a sentence that claims no more than the runs show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diffusion_lab.catalogue.comparison.groups import Group
from diffusion_lab.catalogue.comparison.statistics import Difference, compare
from diffusion_lab.catalogue.metric_names import decimals_of, number


@dataclass(frozen=True)
class Verdict:
    """What can be said: ``better``, ``ahead`` (beyond the interval, but too few runs), ``alike`` or ``unknown``."""

    word: Literal["better", "ahead", "alike", "unknown"]
    sentence: str
    difference: Difference | None = None


def verdict(ranked: Sequence[Group], metric: str, lower: bool, unit: Sequence[str] = ("seed",)) -> Verdict:
    """Compare the first two rows of those that have the metric, the best first.

    `unit` names what tells the runs of a row apart.
    """
    rows = [group for group in ranked if group.numbers(metric)]
    if len(rows) < 2:
        return Verdict("unknown", "There is one config, and so nothing to compare.")
    best, following = rows[:2]
    difference = compare(best.numbers(metric), following.numbers(metric))
    decimals = decimals_of((difference.high - difference.low) / 2)
    size = number(abs(difference.mean), decimals)
    what = f"{metric} is {'lower' if lower else 'higher'} by {size}"
    if min(difference.n) < 2:
        return Verdict(
            "unknown",
            f"{best.label} has the best {metric}, before {following.label} by {size}; with "
            f"{_runs(difference, unit)} nothing can be said of chance: it takes two seeds of each, and better five.",
            difference,
        )
    low, high = sorted((abs(difference.low), abs(difference.high)))
    if difference.outside:
        interval = f"{number(low, decimals)} … {number(high, decimals)}"
    else:  # seen from the best: below zero is worse
        ends = sorted((-1 if lower else 1) * end for end in (difference.low, difference.high))
        interval = f"{_signed(ends[0], decimals)} … {_signed(ends[1], decimals)}"
    test = "t test" if difference.paired else "Welch's t test"
    p = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.2g}"
    basis = f"95 % interval {interval}; {_runs(difference, unit)}; {test}: {p}"
    if difference.real:
        return Verdict("better", f"{best.label} is better than {following.label}: {what} ({basis}).", difference)
    if difference.outside:
        sentence = f"{best.label} is ahead of {following.label}: {what} ({basis}). The runs are too few to be sure."
        return Verdict("ahead", sentence, difference)
    sentence = f"{best.label} and {following.label} cannot be told apart: {what} ({basis})."
    return Verdict("alike", sentence, difference)


def _runs(difference: Difference, unit: Sequence[str]) -> str:
    a, b = difference.n
    pairs = f", paired by {' and '.join(unit)}" if difference.paired and a > 1 else ""
    if a == b:
        return f"{a} run{'s' * (a > 1)} each{pairs}"
    return f"{a} run{'s' * (a > 1)} of the one and {b} of the other"


def _signed(value: float, decimals: int | None) -> str:
    return f"−{number(-value, decimals)}" if value < 0 else number(value, decimals)
