"""The exercise of planning a comparison: how many seeds it needs to find a difference that is there."""

from __future__ import annotations

import math
from typing import Any

from diffusion_lab.catalogue.comparison.statistics import power
from diffusion_lab.walkthrough.mistakes import Mistake, NotWritten, told

#: The 97.5 % point of the normal distribution, and its 80 % point.
_NORMAL = 1.959964, 0.841621


def check_seeds(seeds: Any, difference: float, spread: float, wanted: float = 0.8) -> bool:
    """Return whether a number of seeds is the smallest that is enough; print so, or what is wrong with it.

    Args:
        seeds: how many seeds each of the two configs is to be trained with, the same ones.
        difference: of the means.
        spread: the standard deviation of the differences of pairs.
        wanted: in which share of all such comparisons the t test is to find the difference.
    """
    return told(lambda: _checked(seeds, difference, spread, wanted))


def _checked(seeds: Any, difference: float, spread: float, wanted: float) -> str:
    if seeds is None or seeds is ...:
        raise NotWritten("seeds must be a whole number")
    if not isinstance(seeds, int) or isinstance(seeds, bool):
        raise Mistake(f"seeds must be a whole number, got {seeds!r}")
    if seeds < 2:
        raise Mistake("a single pair of runs has no spread, so that nothing can be tested: at least two seeds")
    found, before = power(difference, spread, seeds), power(difference, spread, seeds - 1)
    if found < wanted:
        known = math.ceil((sum(_NORMAL) * spread / difference) ** 2)
        if seeds == known and wanted == 0.8:
            raise Mistake(
                f"{seeds} would do if the spread were known; it is estimated from the same few runs, "
                f"so that the t test finds the difference in {found:.0%} of all cases"
            )
        raise Mistake(f"with {seeds} seeds the difference is found in {found:.0%} of all cases, and not {wanted:.0%}")
    if before >= wanted:
        raise Mistake(f"fewer are enough: {seeds - 1} seeds find it in {before:.0%} of all cases already")
    return f"{seeds} seeds find it in {found:.0%} of all cases, and {seeds - 1} in {before:.0%}."
