"""Errors that the user can correct, and exceptions for runs that end early without an error."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Collection, Iterable
from typing import Any

#: Exit status of a program that was stopped with Ctrl-C.
INTERRUPTED_STATUS = 128 + signal.SIGINT


class LabError(Exception):
    """An error that the user can correct. The message is one line: the key or the file, and what to do."""


class RunInterrupted(Exception):
    """A signal asked the run to stop.

    Args:
        message: how to continue.
        signal_number: the signal; the program's exit status is 128 more.
    """

    def __init__(self, message: str = "", signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.status = 128 + signal_number


class RunPruned(Exception):
    """A search stopped this run early, because it does worse than others did."""


def did_you_mean(given: Any, names: Iterable[str]) -> str:
    """Return a question with the name nearest to `given`, to follow a sentence; an empty string if none is near."""
    near = difflib.get_close_matches(str(given), list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_key(key: str, names: Collection[str]) -> str:
    """Return the message for a key that does not exist, which suggests the nearest of `names` and lists them."""
    guess = did_you_mean(key.rpartition(".")[2], names)
    return f"there is no key {key}{guess or ':'} accepted are {', '.join(names) or 'none'}"


def printable(text: str) -> str:
    """Return a text for the terminal, in which characters that control it are replaced; line breaks stay.

    Whatever is printed goes through here, since any of it may come from a run folder of somebody else.
    """
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
