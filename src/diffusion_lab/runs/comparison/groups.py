"""Runs in rows and columns: what differs between their configs, and which of them differ in nothing but the seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_lab.config.values import unknown
from diffusion_lab.errors import LabError
from diffusion_lab.runs.comparison.statistics import Summary, summary
from diffusion_lab.runs.fingerprint import DECIDES_NOTHING
from diffusion_lab.runs.record import RunRecord, plain

_TARGET = "._target_"
#: What the data is, their hash says, wherever they lie.
_IGNORED = (*DECIDES_NOTHING, "data.data_dir", "seed")
_HASH = "data (hash)"
ABSENT = "–"


@dataclass(frozen=True)
class Group:
    """A row: the runs that agree in all columns.

    Attributes:
        values: of each column, as text.
        runs: by their unit, which is the seed and what else is averaged over.
    """

    values: dict[str, str]
    runs: dict[str, RunRecord]

    @property
    def label(self) -> str:
        """The row in a few words."""
        words = [
            value if column == column.partition(".")[0] and value != ABSENT else f"{column.rpartition('.')[2]} {value}"
            for column, value in self.values.items()
        ]
        return ", ".join(words) or "the one config"

    def numbers(self, metric: str) -> dict[str, float]:
        """The runs' numbers by unit, those that are finite."""
        found = {unit: run.metrics.get(metric, math.nan) for unit, run in self.runs.items()}
        return {unit: value for unit, value in found.items() if math.isfinite(value)}

    def summary(self, metric: str) -> Summary | None:
        """Over the runs; None where no run has a finite number."""
        numbers = self.numbers(metric)
        return summary(list(numbers.values())) if numbers else None


@dataclass(frozen=True)
class Grouping:
    """All rows.

    Attributes:
        columns: the keys in which the configs differ; where an option differs, its own arguments are none.
        averaged: the columns that `by` leaves out.
        groups: in the order in which they were met.
        repeated: runs that are left out, since a newer one has the same config and seed.
    """

    columns: list[str]
    averaged: list[str]
    groups: list[Group]
    repeated: list[RunRecord]


def grouped(runs: Sequence[RunRecord], by: Sequence[str] = ()) -> Grouping:
    """Put runs into rows.

    Args:
        runs: the newer ones last.
        by: the columns that make the rows; all where it is empty.

    Raises:
        LabError: naming an entry of `by` that is no column.
    """
    configs = [_deciding(run) for run in runs]
    differing = _differing(configs)
    for column in by:
        if column not in differing:
            raise LabError(f"by={column}: {unknown(column, differing)} (the keys in which these runs differ)")
    columns = [column for column in differing if not by or column in by]
    averaged = [column for column in differing if column not in columns]
    rows: dict[str, dict[str, RunRecord]] = {}
    values: dict[str, dict[str, str]] = {}
    repeated = []
    for run, config in zip(runs, configs, strict=True):
        row = _key(config, columns)
        values[row] = {column: _text(run, config, column) for column in columns}
        unit = json.dumps([run.seed, _key(config, averaged)], default=str)
        same = rows.setdefault(row, {})
        if unit in same:
            repeated.append(same.pop(unit))
        same[unit] = run
    return Grouping(columns, averaged, [Group(values[row], found) for row, found in rows.items()], repeated)


def shared(runs: Sequence[RunRecord]) -> dict[str, str]:
    """The keys that are alike in all runs, with their values as text."""
    configs = [_deciding(run) for run in runs]
    alike = [key for key in configs[0] if all(_of(config, key) == _of(configs[0], key) for config in configs)]
    return {key: _written(configs[0][key]) for key in alike if key != _HASH}


def _deciding(run: RunRecord) -> dict[str, Any]:
    """The config of a run without what decides nothing, and a hash of its data."""
    ignored = tuple(f"{key}." for key in _IGNORED)
    config = {key: value for key, value in run.config.items() if not f"{key}.".startswith(ignored) and value != {}}
    if isinstance(data := run.manifest.get("data"), Mapping):
        config[_HASH] = " ".join(str(value)[:8] for value in data.values())
    return config


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns, in the order of the configs; ``schedule`` stands for ``schedule._target_``."""
    keys = list(dict.fromkeys(key for config in configs for key in config))
    found = []
    for key in keys:
        # Where options differ, so do their arguments, and that says nothing more: look among runs of equal options.
        nodes = [key[:i] for i, letter in enumerate(key) if letter == "."]
        above = [f"{node}{_TARGET}" for node in nodes if f"{node}{_TARGET}" != key]
        alike: dict[tuple[str, ...], set[str]] = {}
        for config in configs:
            alike.setdefault(tuple(_of(config, target) for target in above), set()).add(_of(config, key))
        if any(len(values) > 1 for values in alike.values()):
            found.append(key.removesuffix(_TARGET))
    return found


def _of(config: Mapping[str, Any], key: str) -> str:
    """A value as it is compared: 1 is not true, and no value is not null."""
    return json.dumps(config[key], default=str) if key in config else ABSENT


def _key(config: Mapping[str, Any], columns: Sequence[str]) -> str:
    return json.dumps([_of(config, f"{c}{_TARGET}" if f"{c}{_TARGET}" in config else c) for c in columns])


def _text(run: RunRecord, config: Mapping[str, Any], column: str) -> str:
    target = config.get(f"{column}{_TARGET}")
    if target is None:
        return _written(config[column]) if column in config else ABSENT
    options = run.manifest.get("options")
    option = options.get(column) if isinstance(options, Mapping) else None
    return plain(option or str(target).rpartition(".")[2], 60)


def _written(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    return plain(value, 60)
