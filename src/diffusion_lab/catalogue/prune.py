"""Removing runs, or their checkpoints: what may go, what stays and why. Nothing is removed but by `remove`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffusion_lab.catalogue.find import run_folders
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.run_record import RunRecord, size_on_disk

What = Literal["runs", "checkpoints"]


@dataclass(frozen=True)
class Plan:
    """What would go, with the bytes that this frees, and what stays although it was asked for, with the reason."""

    going: list[tuple[RunRecord, int]]
    staying: list[tuple[RunRecord, str]]


def plan(asked: Sequence[RunRecord], known: Sequence[RunRecord], what: What) -> Plan:
    """What of the runs `asked` for may go, given all runs that are `known`.

    A run stays while it runs, or if one that stays began with its weights.
    """
    going, staying = [], []
    for run in asked:
        reason = _kept(run, what)
        if reason is None:
            going.append(run)
        else:
            staying.append((run, reason))
    while True:
        leaving = {_place(run) for run in going} if what == "runs" else set()
        sources = {_resolved(run.init_from): run for run in known if run.init_from and _place(run) not in leaving}
        needed = [run for run in going if _place(run) in sources]
        if not needed:
            break
        going = [run for run in going if run not in needed]
        staying += [(run, f"{sources[_place(run)].path.name} began with its weights") for run in needed]
    return Plan([(run, _bytes(run, what)) for run in going], staying)


def remove(run: RunRecord, what: What) -> None:
    """Remove a run, or its checkpoints. It is looked at once more, and held: it may have been resumed since.

    Raises:
        LabError: if it is to stay after all, or cannot be removed.
    """
    fresh = RunRecord(run.path)
    if reason := _kept(fresh, what):
        raise LabError(f"{run.path} stays: {reason}")
    target = _target(run, what)
    # Out of sight first, so that nobody takes a half of it for a run.
    hidden = target.with_name(f".{target.name}.pruned")
    with RunFolder(run.path).held():
        try:
            target.rename(hidden)
            shutil.rmtree(hidden)
        except OSError as error:
            raise LabError(f"cannot remove {target}: {error.strerror}") from error


def _kept(run: RunRecord, what: What) -> str | None:
    """Why a run stays whatever the others are; None if it may go."""
    if run.path.is_symlink():
        return "it is a link"
    if not (run.path / "config.yaml").is_file():
        return "it is no run's folder"
    if run.state == "running":
        return "it is running"
    if not run.sessions:
        return "it has no manifest.json that says it is a run's folder"
    if (run.path / "checkpoints").is_symlink():
        return "its checkpoints are a link"
    if what == "checkpoints" and not (run.path / "checkpoints").is_dir():
        return "it has no checkpoints"
    if any(True for below in run.path.iterdir() if below.is_dir() for _ in run_folders(below)):
        return "there is a run in it"
    return None


def _target(run: RunRecord, what: What) -> Path:
    return run.path if what == "runs" else run.path / "checkpoints"


def _bytes(run: RunRecord, what: What) -> int:
    return run.size if what == "runs" else sum(size_on_disk(_target(run, what)))


def _place(run: RunRecord) -> Path:
    return run.path.resolve()


def _resolved(path: Path | None) -> Path | None:
    return path.expanduser().resolve() if path else None
