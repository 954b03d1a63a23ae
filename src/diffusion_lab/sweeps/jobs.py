"""The jobs of a sweep, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["finished", "skipped", "failed", "interrupted", "elsewhere", "not started"]


@dataclass(frozen=True)
class Job:
    """A run to be done.

    Attributes:
        number: from 1.
        label: what tells it from the others of its sweep.
        config: composed, resolved and checked, as it is to be recorded. YAML files that change later do not change it.
        overrides: what was typed to get it, for the record.
        options: of each config group, for the record.
        key: see `record.job_key`.
        outputs: the folder of all runs.
        rerun: whether to start it anew if it has finished or was interrupted.
    """

    number: int
    label: str
    config: dict[str, Any]
    overrides: list[str]
    options: dict[str, Any]
    key: str
    outputs: Path
    rerun: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        state: ``skipped`` if it had finished before, ``elsewhere`` while another process runs it.
        folder: of its run, if there is one.
        error: why it failed, in one line.
        seconds: that it took.
    """

    number: int
    state: State
    folder: str | None = None
    error: str | None = None
    seconds: float = 0.0


def labels(overrides: Sequence[Sequence[str]]) -> list[str]:
    """For each job, those of its overrides that are not the same for all."""
    common = set(overrides[0]).intersection(*overrides) if len(overrides) > 1 else set()
    return [" ".join(typed for typed in job if typed not in common) or "as typed" for job in overrides]
