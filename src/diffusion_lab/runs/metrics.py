"""Numbers of runs by name: which way is better, and how they are written."""

from __future__ import annotations

import math
import re

from diffusion_lab.errors import LabError

#: By the last part of a metric's name, ``_best`` left out.
_LOWER = re.compile(
    r"(.*_)?(loss|error|fid|kid|nll|bits_per_dim|bpd|perplexity|shuffled|wall_time_s|parameters|peak_MiB)(_ema|_\w+)?"
)
_HIGHER = re.compile(r"(.*_)?(samples|real|accuracy|classes|precision|recall|coverage|images_per_s|inception_score)")


def lower_is_better(metric: str, direction: str | None = None) -> bool:
    """Which way a metric is better; `direction`, lower or higher, says so of any.

    Raises:
        LabError: if it is neither known nor given.
    """
    if direction is not None:
        return direction == "lower"
    name = re.split(r"[./]", metric)[-1].removesuffix("_best")
    if _LOWER.fullmatch(name) or _HIGHER.fullmatch(name):
        return bool(_LOWER.fullmatch(name))
    raise LabError(
        f"metric={metric}: is it better when it is lower or higher? give direction=lower or direction=higher"
    )


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
    return min(max(1 - math.floor(math.log10(spread)), 0), 9)


def mean_and_spread(mean: float, std: float) -> str:
    """``0.0378 ± 0.0004``, or the mean alone."""
    decimals = decimals_of(std)
    return number(mean) if decimals is None else f"{number(mean, decimals)} ± {number(std, decimals)}"
