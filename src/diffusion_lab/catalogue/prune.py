"""Remove runs or their checkpoints: which ones can be removed, and why the others are kept."""

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

Scope = Literal["runs", "checkpoints"]


@dataclass(frozen=True)
class PrunePlan:
    """The runs that a removal affects.

    Attributes:
        removable: runs that can be removed, with the bytes that this frees.
        kept: runs that were selected but are kept, with the reason.
    """

    removable: list[tuple[RunRecord, int]]
    kept: list[tuple[RunRecord, str]]


def plan_pruning(selected: Sequence[RunRecord], known: Sequence[RunRecord], scope: Scope) -> PrunePlan:
    """Decide which of the `selected` runs can be removed, or lose their checkpoints. Nothing is removed here.

    A run is kept while it is running, or if a run that is kept started from its weights.

    Args:
        selected: the runs to remove.
        known: all runs that may have started from the weights of a selected one.
        scope: whether whole runs or only their checkpoints are removed.
    """
    removable, kept = [], []
    for run in selected:
        reason = _reason_to_keep(run, scope)
        if reason is None:
            removable.append(run)
        else:
            kept.append((run, reason))
    # A run that is kept for its descendants may itself have started from another one: repeat until nothing changes.
    while True:
        removed = {run.path.resolve() for run in removable} if scope == "runs" else set()
        descendants = {
            run.init_from.expanduser().resolve(): run
            for run in known
            if run.init_from and run.path.resolve() not in removed
        }
        needed = [run for run in removable if run.path.resolve() in descendants]
        if not needed:
            break
        removable = [run for run in removable if run not in needed]
        kept += [(run, f"{descendants[run.path.resolve()].path.name} started from its weights") for run in needed]
    return PrunePlan([(run, _size(run, scope)) for run in removable], kept)


def remove(run: RunRecord, scope: Scope) -> None:
    """Remove a run or its checkpoints.

    The folder is read again and locked first, since the run may have been resumed in the meantime.

    Raises:
        LabError: if the run has to be kept after all, or cannot be removed.
    """
    if reason := _reason_to_keep(RunRecord(run.path), scope):
        raise LabError(f"{run.path} is kept: {reason}")
    folder = _folder_to_remove(run, scope)
    # Renamed first, so that a removal that is interrupted leaves nothing that looks like a run.
    hidden = folder.with_name(f".{folder.name}.pruned")
    with RunFolder(run.path).held():
        try:
            folder.rename(hidden)
            shutil.rmtree(hidden)
        except OSError as error:
            raise LabError(f"cannot remove {folder}: {error.strerror}") from error


def _reason_to_keep(run: RunRecord, scope: Scope) -> str | None:
    """Why a run is kept, whatever other runs there are; None if it can be removed."""
    if run.path.is_symlink():
        return "it is a link"
    if not (run.path / "config.yaml").is_file():
        return "it is not a run folder"
    if run.state == "running":
        return "it is running"
    if not run.sessions:
        return "it has no manifest.json that records a run"
    if (run.path / "checkpoints").is_symlink():
        return "its checkpoints are a link"
    if scope == "checkpoints" and not (run.path / "checkpoints").is_dir():
        return "it has no checkpoints"
    if any(True for below in run.path.iterdir() if below.is_dir() for _ in run_folders(below)):
        return "it contains another run"
    return None


def _folder_to_remove(run: RunRecord, scope: Scope) -> Path:
    return run.path if scope == "runs" else run.path / "checkpoints"


def _size(run: RunRecord, scope: Scope) -> int:
    """Bytes on the disk that a removal frees."""
    return run.size if scope == "runs" else sum(size_on_disk(_folder_to_remove(run, scope)))
