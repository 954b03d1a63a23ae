"""What a run folder says of its run, read as data and without torch: for lists and comparisons of many runs."""

from __future__ import annotations

import csv
import datetime
import json
import math
import os
import platform
import stat
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import read_json, write_text
from diffusion_lab.run_folder.layout import NewerLayoutError
from diffusion_lab.run_folder.recorded_config import read_recorded_config

#: `killed` says that it runs, and its process is gone; `damaged` lacks a manifest, or has one that cannot be read.
STATES = ("finished", "running", "interrupted", "failed", "pruned", "killed", "damaged")

#: Tags and notes that were given after the run had begun; they stand for those of its config.
LABELS = "labels.json"

_LATER = 5.0  # seconds from a process's start to its manifest's, at least, by clocks that are not quite one


class RunRecord:
    """A run folder. Everything is read when it is asked for; what is damaged raises LabError, but for `state`.

    Args:
        path: a folder with a `config.yaml`.

    All text is printable: what steers a terminal is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The recorded config by dotted key; a list is one value."""
        return dict(_leaves(read_recorded_config(self.path, self.manifest)))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of `manifest.json`, empty where there is none."""
        return read_json(self.path / "manifest.json")

    @cached_property
    def sessions(self) -> list[dict[str, Any]]:
        """The starts of the run, the first one and each time that it went on."""
        found = self.manifest.get("sessions")
        return [session for session in found if isinstance(session, dict)] if isinstance(found, list) else []

    @cached_property
    def state(self) -> str:
        """One of `STATES`."""
        try:
            status = self.manifest.get("status")
            assert self.config is not None
        except NewerLayoutError:
            pass  # its state is known, though its config is not
        except LabError:
            return "damaged"
        if not self.sessions or status not in STATES:
            return "damaged"
        return "killed" if status == "running" and _is_gone(self.sessions[-1]) else str(status)

    @property
    def started(self) -> datetime.datetime | None:
        """When the run began, as far as it is known."""
        return _time(self.sessions[0].get("started")) if self.sessions else None

    @property
    def name(self) -> str:
        """The folder of runs: what was typed as ``name``, or the experiment's."""
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
        """Record tags and notes, beside what the config says of them."""
        write_text(self.path / LABELS, json.dumps({"tags": tags, "notes": notes}, indent=2, ensure_ascii=False) + "\n")
        self.__dict__.pop("_labels", None)

    @cached_property
    def init_from(self) -> Path | None:
        """The run whose weights this one began with."""
        path = self.config.get("init_from")
        return Path(path) if isinstance(path, str) and path else None

    @cached_property
    def size(self) -> int:
        """Bytes on the disk, of the files in the folder."""
        return sum(size_on_disk(self.path))

    @cached_property
    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """The losses over training: (step, value) of ``train/loss`` and ``val/loss``, as far as they are finite."""
        rows = read_json(self.path / "metrics.json").get("epochs")
        if not isinstance(rows, list):  # it has not finished
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
        """Numbers by name, NaN and infinities included.

        A loss is the last one that was measured, and under ``…_best`` the lowest; numbers of an evaluation follow its
        name, as in ``recognition.samples``.
        """
        found: dict[str, float] = {}
        for name, value in read_json(self.path / "metrics.json").items():
            for key, number in _leaves(value, plain(name)) if isinstance(value, dict) else [(plain(name), value)]:
                if isinstance(number, int | float) and not isinstance(number, bool):
                    found[key] = float(number)
        found.pop("train/loss_epoch", None)  # train/loss by another name
        for name, points in self.curves.items():
            found.setdefault(name, points[-1][1])
            found[f"{name}_best"] = min(value for _, value in points)
        if (number := _number(self.manifest.get("parameters"))) is not None:
            found["parameters"] = number
        times = [_number(session.get("wall_time_s")) for session in self.sessions]
        if any(time is not None for time in times):
            found["wall_time_s"] = sum(time for time in times if time is not None)
        return found

    def _logged(self) -> list[dict[str, Any]]:
        """The rows of `csv/metrics.csv`, with the names and steps of `metrics.json`."""
        try:
            with (self.path / "csv" / "metrics.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
        except (OSError, ValueError, csv.Error):
            return []
        return [
            {"step": step + 1, "train/loss": row.get("train/loss_epoch"), "val/loss": row.get("val/loss")}
            for row in rows
            if (step := _number(row.get("step"))) is not None
        ]


def plain(value: Any, longest: int = 500) -> str:
    """Text of a run folder, on one line, with nothing in it that steers a terminal."""
    text = " ".join(str(value).split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:longest]


def size_on_disk(folder: Path) -> Iterator[int]:
    """Of each file below, the bytes that it takes; what has several names counts once, links count as themselves."""
    seen = set()
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                facts = Path(parent, name).lstat()
            except OSError:  # a run under way writes and renames
                continue
            if (facts.st_dev, facts.st_ino) not in seen:
                seen.add((facts.st_dev, facts.st_ino))
                yield facts.st_blocks * 512 if stat.S_ISREG(facts.st_mode) else 0


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict):
        yield prefix, node
        return
    for name, value in node.items():
        yield from _leaves(value, f"{prefix}.{plain(name)}" if prefix else plain(name))


def _number(value: Any) -> float | None:
    """A finite number, of text too; None where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _time(text: Any) -> datetime.datetime | None:
    try:
        time = datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _is_gone(session: Mapping[str, Any]) -> bool:
    """Whether the process of a session that has not told its end is known to have ended."""
    process, host = session.get("process_id"), session.get("host")
    if host not in (None, platform.node()) or not isinstance(process, int):
        return False  # of another machine's processes nothing is known
    began = _process_start(process)
    if began is None:
        return True
    started = _time(session.get("started"))
    # The number may be another process's by now: one that began after the session had.
    return started is not None and began > started.timestamp() + _LATER


def _process_start(process: int) -> float | None:
    """When the process with this number began, in seconds of the epoch; 0: that is not told; None: it is gone."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except (OSError, OverflowError):  # another user's
        pass
    try:
        ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
        return int(boot.split()[1]) + int(ticks) / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, IndexError, ValueError):
        return 0.0
