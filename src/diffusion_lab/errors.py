"""The ways a run ends early that are no bugs."""

from __future__ import annotations


class LabError(Exception):
    """Something a person can mend. The message is one line that names the key or the file and what would do."""


class RunInterrupted(Exception):
    """The person asked the run to stop, and what was computed has been saved."""


class RunPruned(Exception):
    """A search has seen enough of this run: it does worse than others did."""
