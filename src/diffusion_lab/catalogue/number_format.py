"""Numbers as text: four significant digits, or as many decimals as their spread justifies."""

from __future__ import annotations

import math


def format_number(value: float, decimals: int | None = None) -> str:
    """Return a number with `decimals` decimals, by default four significant digits; a dash if it is not finite."""
    if not math.isfinite(value):
        return "–"
    if decimals is None:
        decimals = 0 if value == round(value) else 3 - math.floor(math.log10(abs(value)))
    if decimals > 9 or abs(value) >= 1e7:
        return f"{value:.3e}"
    return f"{value:,.{max(decimals, 0)}f}"


def decimals_for_spread(spread: float) -> int | None:
    """Return how many decimals show two significant digits of `spread`; None if it is zero or not finite."""
    if not math.isfinite(spread) or spread <= 0:
        return None
    return max(1 - math.floor(math.log10(spread)), 0)


def format_mean(mean: float, std: float) -> str:
    """Return ``0.0378 ± 0.0004``, or the mean alone if there is no spread."""
    decimals = decimals_for_spread(std)
    if decimals is None:
        return format_number(mean)
    return f"{format_number(mean, decimals)} ± {format_number(std, decimals)}"
