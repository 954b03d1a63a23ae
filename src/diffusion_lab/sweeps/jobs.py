"""The jobs of a sweep and their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["finished", "skipped", "failed", "interrupted", "running elsewhere", "not started"]


@dataclass(frozen=True)
class Job:
    """One training run of a sweep.

    Attributes:
        number: counted from 1.
        label: the overrides that distinguish it from the other jobs of its sweep.
        config: composed, resolved and checked, as the run will record it. Later changes of YAML files do not affect it.
        overrides: the overrides typed for it, for the run's record.
        options: the chosen option of each config group, for the run's record.
        key: identifies the job, see `job_record.job_key`.
        outputs: the folder of all runs.
        rerun: whether to start a new run even if there is a finished or interrupted one.
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
    """How a job ended.

    Attributes:
        number: of the job.
        state: ``skipped`` if it had finished before, ``running elsewhere`` while another process runs it.
        folder: the folder of its run, if there is one.
        error: one line that says why it failed.
        seconds: the time that it took.
    """

    number: int
    state: State
    folder: str | None = None
    error: str | None = None
    seconds: float = 0.0


def job_labels(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Return one label for each job: those of its overrides that not all jobs have in common."""
    common = set(overrides[0]).intersection(*overrides) if len(overrides) > 1 else set()
    return [" ".join(typed for typed in job if typed not in common) or "no overrides" for job in overrides]
