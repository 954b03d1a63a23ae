"""Run folders, by what a person types: themselves, folders around them, or patterns of either."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from diffusion_lab.errors import LabError, did_you_mean
from diffusion_lab.run_folder.run_record import RunRecord


def output_dir() -> Path:
    """Where runs are written unless something else is typed."""
    return Path(os.environ.get("DIFFUSION_LAB_OUTPUT_DIR", "outputs"))


def find_runs(typed: Iterable[str | Path]) -> list[RunRecord]:
    """The runs in what was typed, each once, the oldest first.

    Raises:
        LabError: naming what was typed, if it does not exist or holds no run.
    """
    found: dict[Path, RunRecord] = {}
    for text in typed:
        folders = [folder for path in _expanded(text) for folder in run_folders(path)]
        if not folders:
            raise LabError(f"{text} holds no run: a run's folder has a config.yaml")
        for folder in folders:
            found.setdefault(folder.resolve(), RunRecord(folder))
    return sorted(found.values(), key=lambda run: (run.path.name, run.path))


def run_folders(folder: Path) -> Iterator[Path]:
    """`folder` itself if it is a run's, else those below it; links are not followed."""
    for parent, names, files in os.walk(folder):
        names.sort()
        if "config.yaml" in files:
            names.clear()
            yield Path(parent)


def _expanded(text: str | Path) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_dir():
        return [path]
    if path.exists():
        raise LabError(f"{text} is a file: name a run's folder, or one with runs in it")
    top = Path(path.anchor)
    if matches := sorted(match for match in top.glob(str(path.relative_to(top))) if match.is_dir()):
        return matches
    # The first part of it that does not exist is where it was misspelled.
    missing = path
    while not missing.parent.is_dir():
        missing = missing.parent
    beside = [entry.name for entry in missing.parent.iterdir() if entry.is_dir()]
    raise LabError(f"there is no folder {text}{did_you_mean(missing.name, beside)}")
