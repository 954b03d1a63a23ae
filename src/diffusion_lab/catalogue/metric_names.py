"""Numbers of runs by name: which way is better, and how they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from diffusion_lab.errors import LabError, did_you_mean

#: Words for a part of a metric's name, the last one that is known; what it is of may stand before or after it.
_LOWER = re.compile(
    r"(\w*_)?(loss|error|fid|kid|nll|bits_per_dim|bpd|perplexity|shuffled|wall_time_s|parameters|peak_MiB)(_\w*)?"
)
_HIGHER = re.compile(
    r"(\w*_)?(samples|real|accuracy|classes|precision|recall|coverage|\w+_per_s|inception_score)(_\w*)?"
)

#: What is measured while training and compared by nobody, but where it is asked for.
_ON_THE_WAY = ("optimizer", "step")


def lower_is_better(metric: str, direction: str | None = None) -> bool:
    """Which way a metric is better; `direction`, lower or higher, says so of any.

    Raises:
        LabError: if it is neither known nor given.
    """
    if direction is not None:
        return direction == "lower"
    for name in reversed(re.split(r"[./]", metric)):
        for pattern in (_LOWER, _HIGHER):
            if pattern.fullmatch(name):
                return pattern is _LOWER
    raise LabError(f"metric={metric}: which way is it better? give direction=lower or direction=higher")


def no_metric(metric: str, known: Collection[str]) -> str:
    """The line for a metric that no run has, with the nearest one that there is."""
    names = [name for name in known if name.partition("/")[0] not in _ON_THE_WAY]
    return f"metric={metric}: no run has it{did_you_mean(metric, known) or ';'} there are {', '.join(names)}"


def number(value: float, decimals: int | None = None) -> str:
    """Four significant digits, or so many decimals; a dash for what is not known."""
    if not math.isfinite(value):
        return "–"
    if decimals is None:
        decimals = 3 - math.floor(math.log10(abs(value))) if value else 1
        if value == round(value) and abs(value) < 1e6:
            decimals = 0
    if decimals > 9 or abs(value) >= 1e7:
        return f"{value:.3e}"
    return f"{value:,.{max(decimals, 0)}f}"


def decimals_of(spread: float) -> int | None:
    """So many that a spread shows two significant digits; None where there is no spread."""
    if not math.isfinite(spread) or spread <= 0:
        return None
    return max(1 - math.floor(math.log10(spread)), 0)


def mean_and_spread(mean: float, std: float) -> str:
    """``0.0378 ± 0.0004``, or the mean alone."""
    decimals = decimals_of(std)
    return number(mean) if decimals is None else f"{number(mean, decimals)} ± {number(std, decimals)}"
