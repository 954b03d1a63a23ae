"""Verdicts on a reader's function: right, not yet right and why, or not written yet. None of them is an exception."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Mistake(Exception):
    """What is wrong with a reader's function, as a sentence for its author."""


class NotWritten(Mistake):
    """A function that is still empty."""


def told(check: Callable[[], str]) -> bool:
    """Print the `verdict` of a check, and return whether all is right."""
    line = verdict(check)
    print(line)
    return line.startswith("Right: ")


def verdict(check: Callable[[], str]) -> str:
    """Return one line: what `check` returns, as ``Right: …``; or the `Mistake` that it raises, as ``Not yet: …``."""
    try:
        return f"Right: {check()}"
    except NotWritten as mistake:
        return f"Not written yet: {mistake}"
    except Mistake as mistake:
        return f"Not yet: {mistake}"


def result_of(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a reader's function returns; it is given copies of tensors.

    Raises:
        NotWritten: if it returns nothing, or raises `NotImplementedError`.
        Mistake: if it raises another exception, naming it; or if it changes a tensor that it was given.
    """
    name = getattr(function, "__name__", "the function")
    given = [one.clone() if isinstance(one, Tensor) else one for one in arguments]
    try:
        result = function(*given)
    except NotImplementedError:
        result = None
    except Exception as error:  # whatever a reader's code raises is told to the reader
        raise Mistake(f"{name} raised {type(error).__name__}: {' '.join(str(error).split())}") from error
    if result is None or result is ...:
        raise NotWritten(f"{name} returns nothing")
    for argument, one, other in zip(inspect.signature(function).parameters, given, arguments, strict=False):
        if isinstance(other, Tensor) and not torch.equal(one, other):
            raise Mistake(
                f"it changes {argument}, which it was given: compute a new tensor, without operations in place"
            )
    return result


def checked_tensor(result: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """Return a result as float64.

    Raises:
        Mistake: if it is no tensor, or not of this shape, or holds numbers that are not finite.
    """
    if not isinstance(result, Tensor):
        raise Mistake(f"{what} must be a tensor, and is of type {type(result).__name__}")
    if tuple(result.shape) != shape:
        raise Mistake(f"{what} must have the shape {list(shape)}, and has {list(result.shape)}")
    if not bool(torch.isfinite(result).all()):
        raise Mistake(f"{what} holds numbers that are not finite")
    return result.detach().double()
