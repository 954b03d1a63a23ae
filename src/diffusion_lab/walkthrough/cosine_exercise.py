"""The exercise of the cosine schedule (Nichol & Dhariwal 2021, eq. 17), held against the library's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.schedules import CosineSchedule
from diffusion_lab.walkthrough.mistakes import Mistake, NotWritten, checked_tensor, result_of, told

#: How many steps are tried, and the offset s of the paper.
STEPS, OFFSET = 200, 0.008

#: By how much two tables may differ and be the same, in float32.
_CLOSE = 3e-5


def check_cosine_schedule(cosine_schedule: Callable[[int], tuple[Tensor, Tensor]]) -> bool:
    """Return whether a function computes the cosine schedule as the library does; print so, or its mistake.

    Args:
        cosine_schedule: T → (alpha_bars [T + 1], which begins with 1, betas [T], clipped at 0.999).
    """
    return told(lambda: _checked(cosine_schedule))


def _checked(cosine_schedule: Callable[[int], tuple[Tensor, Tensor]]) -> str:
    result: Any = result_of(cosine_schedule, STEPS)
    if not (isinstance(result, tuple | list) and len(result) == 2):
        raise Mistake(f"it must return two tensors, alpha_bars and betas, and returns {type(result).__name__}")
    if all(part is None or part is ... for part in result):
        raise NotWritten("it returns no tensors")
    schedule = CosineSchedule(STEPS, OFFSET)
    assert schedule.alpha_bar is not None
    assert schedule.betas is not None
    alpha_bars = _of_alpha_bars(result[0], schedule.alpha_bar)
    betas = _of_betas(result[1], schedule.betas, schedule.alpha_bar)
    differences = (alpha_bars - schedule.alpha_bar).abs().max(), (betas - schedule.betas).abs().max()
    return (
        f"for T = {STEPS} it agrees with diffusion_lab.schedules.CosineSchedule, "
        f"ᾱ to {float(differences[0]):.0e} and β to {float(differences[1]):.0e}."
    )


def _of_alpha_bars(result: Any, ours: Tensor) -> Tensor:
    """Return the reader's alpha_bars, if they are right."""
    if isinstance(result, Tensor) and tuple(result.shape) == (STEPS,):
        raise Mistake(f"alpha_bars has T = {STEPS} values, and T + 1 are needed: t = 0, 1, …, T, where ᾱ_0 = 1")
    theirs = checked_tensor(result, (STEPS + 1,), "alpha_bars")
    if _alike(theirs, ours):
        return theirs
    x = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS
    quarter = math.pi / 2
    squared = {
        "f is not divided by f(0), so that ᾱ_0 is not 1": torch.cos((x + OFFSET) / (1 + OFFSET) * quarter) ** 2,
        "the offset s is missing": torch.cos(x * quarter) ** 2,
        "the offset is added, but t/T + s is not divided by 1 + s": torch.cos((x + OFFSET) * quarter) ** 2,
        "π/2 is missing in the cosine": torch.cos((x + OFFSET) / (1 + OFFSET)) ** 2,
        "π stands where π/2 belongs": torch.cos((x + OFFSET) / (1 + OFFSET) * math.pi) ** 2,
        "the sine stands where the cosine belongs, so that the signal grows": (
            torch.sin((x + OFFSET) / (1 + OFFSET) * quarter) ** 2
        ),
        "the square is missing: these are the square roots of ᾱ": torch.cos((x + OFFSET) / (1 + OFFSET) * quarter),
        "t is not divided by T": torch.cos((x * STEPS + OFFSET) / (1 + OFFSET) * quarter) ** 2,
        "these are the 1 − ᾱ": 1 - ours,
        "t runs from 1 to T + 1, where it is from 0 to T": (
            torch.cos((x + 1 / STEPS + OFFSET) / (1 + OFFSET) * quarter) ** 2
        ),
        "t is divided by T + 1, where it is by T": (
            torch.cos((x * STEPS / (STEPS + 1) + OFFSET) / (1 + OFFSET) * quarter) ** 2
        ),
    }
    for text, wrong in squared.items():
        if _alike(theirs, wrong) or (float(wrong[0]) and _alike(theirs, wrong / wrong[0])):
            raise Mistake(text)
    if not _alike(theirs[:1], ours[:1]):
        raise Mistake(f"ᾱ_0 is {float(theirs[0]):.4g}, and must be 1: at t = 0 nothing is destroyed")
    raise _first_difference("ᾱ", theirs, ours, 0)


def _of_betas(result: Any, ours: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return the reader's betas, if they are right."""
    if isinstance(result, Tensor) and tuple(result.shape) == (STEPS + 1,):
        if _alike(result, alpha_bar):
            raise Mistake("betas are the alpha_bars again: β_t = 1 − ᾱ_t/ᾱ_{t−1}")
        raise Mistake(f"betas has T + 1 = {STEPS + 1} values, and there are T steps, each from t − 1 to t")
    theirs = checked_tensor(result, (STEPS,), "betas")
    if _alike(theirs, ours):
        return theirs
    if _alike(theirs[:-1], ours[:-1]) and float(theirs[-1]) > float(ours[-1]):
        raise Mistake(f"they are not clipped at 0.999: the last β is {float(theirs[-1]):.6g}")
    known = {
        "betas are the alpha_bars again: β_t = 1 − ᾱ_t/ᾱ_{t−1}": alpha_bar[1:],
        "these are the 1 − ᾱ_t, the noise of all steps together: β_t = 1 − ᾱ_t/ᾱ_{t−1}": 1 - alpha_bar[1:],
        "these are the α_t = ᾱ_t/ᾱ_{t−1}: β_t = 1 − α_t": 1 - ours,
        "the square root was taken: β_t is a variance": ours.sqrt(),
        "the ratio is upside down: β_t = 1 − ᾱ_t/ᾱ_{t−1}": 1 - alpha_bar[:-1] / alpha_bar[1:],
        f"they are clipped at {float(theirs.max()):.4g}: the paper clips at 0.999": ours.clamp(max=float(theirs.max())),
    }
    for text, wrong in known.items():
        # But for the last: clipping may have changed it.
        if _alike(theirs[:-1], wrong[:-1]) or _alike(theirs[:-1], wrong[:-1].clamp(max=0.999)):
            raise Mistake(text)
    raise _first_difference("β", theirs, ours, 1)


def _alike(one: Tensor, other: Tensor) -> bool:
    return float((one.detach().double() - other).abs().max()) < _CLOSE


def _first_difference(name: str, theirs: Tensor, ours: Tensor, first: int) -> Mistake:
    n = int(((theirs - ours).abs() >= _CLOSE).nonzero()[0])
    return Mistake(
        f"{name}_{n + first} is {float(theirs[n]):.6g}, where it is {float(ours[n]):.6g} "
        f"(the first of {int(((theirs - ours).abs() >= _CLOSE).sum())} that differ, for T = {STEPS})"
    )
