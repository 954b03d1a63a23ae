"""Errors that a person can mend, and the ways a run ends early that are no bugs."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Collection, Iterable
from typing import Any

#: The exit status of a program that Ctrl-C has stopped.
INTERRUPTED_STATUS = 128 + signal.SIGINT


class LabError(Exception):
    """Something a person can mend. The message is one line that names the key or the file and what would do."""


class RunInterrupted(Exception):
    """The person, or the machine's keeper, asked the run to stop, and what was computed has been saved.

    Args:
        message: how to go on.
        signal_number: of the signal that asked; the program's exit status is 128 more.
    """

    def __init__(self, message: str = "", signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.status = 128 + signal_number


class RunPruned(Exception):
    """A search has seen enough of this run: it does worse than others did."""


def did_you_mean(given: Any, names: Iterable[str]) -> str:
    """The nearest of `names` as a question that follows a sentence, or nothing if none is near."""
    near = difflib.get_close_matches(str(given), list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_key(key: str, names: Collection[str]) -> str:
    """Return the message for a key that does not exist, which suggests the nearest of `names` and lists them."""
    guess = did_you_mean(key.rpartition(".")[2], names)
    return f"there is no key {key}{guess or ':'} accepted are {', '.join(names) or 'none'}"
