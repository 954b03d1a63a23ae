"""The record of a run: its folder, read as data and without torch, for lists and comparisons of many runs."""

from __future__ import annotations

import datetime
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from diffusion_lab.errors import LabError, printable
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.machine.bounded_read import OF_LOGGERS, check_folder, read_csv, read_json
from diffusion_lab.run_folder.layout import NewerLayoutError
from diffusion_lab.run_folder.manifest_check import check_manifest
from diffusion_lab.run_folder.recorded_config import read_recorded_config
from diffusion_lab.run_folder.session_process import process_is_gone, time_of

#: The manifest of a `killed` run says that it is running, and its process is gone; a `damaged` run has no config or
#: manifest that can be read, or holds a link that leads out of it.
STATES = ("finished", "running", "interrupted", "failed", "pruned", "killed", "damaged")

#: The file of tags and notes that were given after the run had started; they replace those of its config.
LABELS = "labels.json"


class RunRecord:
    """The record of a run. Each file is read when it is first needed.

    Every property but `state` raises LabError, naming the file, if a file that it needs is damaged. All text is
    printable: characters that control a terminal are replaced.

    Args:
        path: a folder with a `config.yaml`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The recorded config by dotted key; a list is one value."""
        try:
            manifest = self.manifest
        except LabError:
            manifest = {}  # the config can be read all the same
        return dict(leaves(read_recorded_config(self.path, manifest)))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of `manifest.json`; it is empty if there is no such file."""
        path = self.path / "manifest.json"
        return check_manifest(read_json(path), path)

    @cached_property
    def sessions(self) -> list[dict[str, Any]]:
        """The sessions of the run: its first start, and each time that it was resumed."""
        return self.manifest.get("sessions") or []

    @cached_property
    def state(self) -> str:
        """One of `STATES`."""
        try:
            check_folder(self.path, OF_LOGGERS)
            status = self.manifest.get("status")
            assert self.config is not None
        except NewerLayoutError:
            pass  # its state is known, though its config is not
        except LabError:
            return "damaged"
        if not self.sessions or status not in STATES:
            return "damaged"
        return "killed" if status == "running" and process_is_gone(self.sessions[-1]) else str(status)

    @property
    def started(self) -> datetime.datetime | None:
        """When the run started; None if that is not recorded."""
        return time_of(self.sessions[0].get("started")) if self.sessions else None

    @property
    def name(self) -> str:
        """The name of the folder of runs that it belongs to."""
        return plain(self.config.get("name", ""))

    @property
    def seed(self) -> Any:
        return self.config.get("seed")

    @property
    def tags(self) -> list[str]:
        return [plain(tag) for tag in self._labels.get("tags", []) if isinstance(tag, str)]

    @property
    def notes(self) -> str:
        return plain(self._labels.get("notes", ""))

    @cached_property
    def _labels(self) -> dict[str, Any]:
        of_config = {"tags": self.config.get("tags", []), "notes": self.config.get("notes", "")}
        labels = of_config | read_json(self.path / LABELS)
        return labels if isinstance(labels["tags"], list) else labels | {"tags": []}

    def label(self, tags: list[str], notes: str) -> None:
        """Record tags and notes that replace those of the config."""
        write_text(self.path / LABELS, json.dumps({"tags": tags, "notes": notes}, indent=2, ensure_ascii=False) + "\n")
        self.__dict__.pop("_labels", None)

    @cached_property
    def init_from(self) -> Path | None:
        """The folder of the run whose weights this one started with."""
        path = self.config.get("init_from")
        return Path(path) if isinstance(path, str) else None

    @cached_property
    def size(self) -> int:
        """The bytes that the files in the folder take on the disk."""
        return sum(size_on_disk(self.path))

    @cached_property
    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """The losses over training: (step, value) of ``train/loss`` and ``val/loss``, where they are finite."""
        rows = read_json(self.path / "metrics.json").get("epochs")
        if not isinstance(rows, list):  # the run has not finished
            rows = self._logged()
        found: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            step = _number(row.get("step")) if isinstance(row, Mapping) else None
            for name in ("train/loss", "val/loss"):
                if step is not None and (value := _number(row.get(name))) is not None:
                    found.setdefault(name, []).append((step, value))
        return found

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The metrics by name, NaN and infinities included.

        A loss is the last one that was measured; the lowest one is under ``…_best``. The numbers of an evaluation come
        after its name, as in ``recognition.samples``.
        """
        found: dict[str, float] = {}
        for name, value in read_json(self.path / "metrics.json").items():
            for key, number in leaves(value, plain(name)) if isinstance(value, dict) else [(plain(name), value)]:
                if isinstance(number, int | float) and not isinstance(number, bool):
                    found[key] = float(number)
        found.pop("train/loss_epoch", None)  # the same as train/loss
        for name, points in self.curves.items():
            found.setdefault(name, points[-1][1])
            found[f"{name}_best"] = min(value for _, value in points)
        if (number := _number(self.manifest.get("parameters"))) is not None:
            found["parameters"] = number
        times = [_number(session.get("wall_time_s")) for session in self.sessions]
        if any(time is not None for time in times):
            found["wall_time_s"] = sum(time for time in times if time is not None)
        return found

    @cached_property
    def facts(self) -> dict[str, str]:
        """The facts of evaluations in words, such as ``quality.extractor``, on which their numbers depend."""
        return {key: plain(value) for key, value in leaves(read_json(self.path / "metrics.json")) if type(value) is str}

    def _logged(self) -> list[dict[str, Any]]:
        """Return the rows of `csv/metrics.csv`, with the names and steps of `metrics.json`."""
        try:
            rows = read_csv(self.path / "csv" / "metrics.csv")
        except LabError:
            return []
        return [
            {"step": step + 1, "train/loss": row.get("train/loss_epoch"), "val/loss": row.get("val/loss")}
            for row in rows
            if (step := _number(row.get("step"))) is not None
        ]


def plain(value: Any, longest: int = 500) -> str:
    """Return a text of a run folder on one line, without characters that control a terminal."""
    return printable(" ".join(str(value).split()))[:longest]


def size_on_disk(folder: Path) -> Iterator[int]:
    """Yield the bytes that each file below takes; a file with several names counts once, and links are not followed."""
    seen = set()
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = Path(parent, name).lstat()
            except OSError:  # a run that is being trained renames files
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield status.st_blocks * 512 if stat.S_ISREG(status.st_mode) else 0


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings by dotted key; a list is one value."""
    if not isinstance(node, dict):
        yield prefix, node
        return
    for name, value in node.items():
        yield from leaves(value, f"{prefix}.{plain(name)}" if prefix else plain(name))


def _number(value: Any) -> float | None:
    """Return a value or text as a finite number; None if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
