"""The exercise of reading a verdict: which change made two runs differ, from their first difference alone."""

from __future__ import annotations

from typing import Any

from diffusion_lab.reproduction.reproduce import Verdict
from diffusion_lab.walkthrough.mistakes import Mistake, NotWritten, told

CAUSES = ("seed", "network", "lr_schedule", "threads")

#: A relative difference of float32 numbers that is no larger comes of rounding.
_ROUNDING = 1e-5


def check_cause(cause: Any, of: Verdict) -> bool:
    """Return whether a cause is what differs in the setup of two runs; print so, or why it cannot be.

    Args:
        cause: ``seed``, ``network``, ``lr_schedule`` or ``threads``.
        of: the verdict on the two runs, which differ in one of these.
    """
    return told(lambda: _checked(cause, of))


def _checked(cause: Any, of: Verdict) -> str:
    if cause is None or cause is ...:
        raise NotWritten(f"cause must be one of {', '.join(CAUSES)}")
    if cause not in CAUSES:
        raise Mistake(f"{cause!r} is none of {', '.join(CAUSES)}")
    if not of.comparison.first_differences:
        raise Mistake("the two runs are equal in all steps: there is no cause to be found")
    first = of.comparison.first_differences[0]
    differs = f"they first differ at step {first.step}" if first.step else "their steps are all equal"
    size = f" by {first.relative:.0e} of the value" if first.relative is not None else ""
    config = of.differences.get("config", "")
    if config.startswith(cause) or (cause == "threads" and not config and "threads" in of.differences):
        return f"{of.differences['threads' if cause == 'threads' else 'config']}; {differs}{size}."
    if cause == "threads":
        if (first.relative or 0) > _ROUNDING:
            raise Mistake(f"rounding begins with the last digits, 1e-7 of a value, and {differs}{size}")
        raise Mistake("as many threads were used in both")
    if cause in ("seed", "network") and first.step != 1:
        raise Mistake(f"another {cause} has other weights before the first step, and {differs}")
    if cause == "lr_schedule" and first.step == 1:
        raise Mistake("the loss of step 1 is computed before any step has been taken with another rate")
    raise Mistake(f"{cause} is the same in both")
