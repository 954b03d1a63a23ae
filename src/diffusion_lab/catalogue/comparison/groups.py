"""Runs in rows and columns: what differs between their configs, and which of them differ in nothing but the seed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_lab.catalogue.comparison.statistics import Summary, summary
from diffusion_lab.errors import LabError, unknown_key
from diffusion_lab.run_folder.fingerprint import DECIDES_NOTHING
from diffusion_lab.run_folder.run_record import RunRecord, plain

_TARGET = "._target_"
#: What the data is, their hash says, wherever they lie; what is drawn and logged on the way changes nothing.
_IGNORED = (
    *DECIDES_NOTHING,
    "callbacks.samples",
    "callbacks.telemetry",
    "callbacks.timestep_loss",
    "data.data_dir",
    "seed",
    "trainer.log_every_n_steps",
)
_HASH = "data (hash)"
_COLUMNS = 6  # in a table for people
ABSENT = "–"


@dataclass(frozen=True)
class Group:
    """A row: the runs that agree in all columns.

    Attributes:
        label: the row in a few words.
        values: of each column, as text.
        runs: by their unit, which is the seed and what else is averaged over.
    """

    label: str
    values: dict[str, str]
    runs: dict[str, RunRecord]

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
        telling: those of the columns that people are shown: all, or where they are many, as few as tell rows apart.
        averaged: the columns that `by` leaves out.
        groups: in the order in which they were met.
        repeated: runs that are left out, since a newer one has the same config and seed.
    """

    columns: list[str]
    telling: list[str]
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
            raise LabError(f"by={column}: {unknown_key(column, differing)} (the keys in which these runs differ)")
    columns = [column for column in differing if not by or column in by]
    averaged = [column for column in differing if column not in columns]
    names = _option_names(runs, configs, columns)
    rows: dict[str, dict[str, RunRecord]] = {}
    values: dict[str, dict[str, str]] = {}
    repeated = []
    for run, config in zip(runs, configs, strict=True):
        row = _key(config, columns)
        values[row] = {column: _text(config, column, names) for column in columns}
        unit = json.dumps([run.seed, _key(config, averaged)], default=str)
        same = rows.setdefault(row, {})
        if unit in same:
            repeated.append(same.pop(unit))
        same[unit] = run
    few = _telling(columns, list(values.values()))
    groups = [Group(_label(values[row], few), values[row], found) for row, found in rows.items()]
    return Grouping(columns, columns if len(columns) <= _COLUMNS else few, averaged, groups, repeated)


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
        config[_HASH] = hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=4).hexdigest()
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


def _option_names(
    runs: Sequence[RunRecord], configs: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> dict[tuple[str, str], str]:
    """What the option of a column is called whose target is given, where the runs agree on it."""
    found: dict[tuple[str, str], set[str]] = {}
    for run, config in zip(runs, configs, strict=True):
        options = run.manifest.get("options")
        for column in columns:
            if isinstance(options, Mapping) and (option := options.get(column)):
                found.setdefault((column, str(config.get(f"{column}{_TARGET}"))), set()).add(plain(option, 60))
    return {place: option.pop() for place, option in found.items() if len(option) == 1}


def _text(config: Mapping[str, Any], column: str, names: Mapping[tuple[str, str], str]) -> str:
    target = config.get(f"{column}{_TARGET}")
    if target is None:
        return _written(config[column]) if column in config else ABSENT
    return names.get((column, str(target))) or plain(str(target).rpartition(".")[2], 60)


def _telling(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """As few columns as tell the rows apart, as far as one finds them one by one."""
    chosen: list[str] = []

    def told_apart(by: Sequence[str]) -> int:
        return len({tuple(row[column] for column in by) for row in rows})

    while len(chosen) < len(columns) and told_apart(chosen) < told_apart(columns):
        rest = [column for column in columns if column not in chosen]
        chosen.append(max(rest, key=lambda column: told_apart([*chosen, column])))
    return [column for column in columns if column in chosen]


def _label(values: Mapping[str, str], columns: Sequence[str]) -> str:
    """An option says what it is; a number needs its key."""
    words = [
        values[column]
        if "." not in column and values[column] != ABSENT
        else f"{column.rpartition('.')[2]} {values[column]}"
        for column in columns
    ]
    return ", ".join(words) or "the one config"


def _written(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    return plain(value, 60)
