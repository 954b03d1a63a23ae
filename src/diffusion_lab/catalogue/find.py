"""Find run folders from paths: run folders, folders that contain some, or glob patterns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from diffusion_lab.errors import LabError, did_you_mean
from diffusion_lab.run_folder.run_record import RunRecord


def output_dir() -> Path:
    """Return the folder into which runs are written by default."""
    return Path(os.environ.get("DIFFUSION_LAB_OUTPUT_DIR", "outputs"))


def find_runs(paths: Iterable[str | Path]) -> list[RunRecord]:
    """Return the runs in `paths`, each once, the oldest first.

    Raises:
        LabError: naming a path that does not exist or contains no run.
    """
    found: dict[Path, RunRecord] = {}
    for path in paths:
        folders = [folder for match in _expand(path) for folder in run_folders(match)]
        if not folders:
            raise LabError(f"{path} contains no run: a run folder has a config.yaml")
        for folder in folders:
            found.setdefault(folder.resolve(), RunRecord(folder))
    return sorted(found.values(), key=lambda run: (run.path.name, run.path))


def run_folders(folder: Path) -> Iterator[Path]:
    """Yield `folder` if it is a run folder, else the run folders below it; links are not followed."""
    for parent, names, files in os.walk(folder):
        names.sort()
        if "config.yaml" in files:
            names.clear()  # folders inside a run folder are part of the run
            yield Path(parent)


def _expand(text: str | Path) -> list[Path]:
    """The folders that a path or a glob pattern stands for."""
    path = Path(text).expanduser()
    if path.is_dir():
        return [path]
    if path.exists():
        raise LabError(f"{text} is a file: give a run folder, or a folder that contains runs")
    root = Path(path.anchor)
    if matches := sorted(match for match in root.glob(str(path.relative_to(root))) if match.is_dir()):
        return matches
    # The suggestion is for the first part of the path that does not exist.
    missing = path
    while not missing.parent.is_dir():
        missing = missing.parent
    siblings = [entry.name for entry in missing.parent.iterdir() if entry.is_dir()]
    raise LabError(f"there is no folder {text}{did_you_mean(missing.name, siblings)}")
