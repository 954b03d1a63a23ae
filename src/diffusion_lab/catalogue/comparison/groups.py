"""Runs as rows of a table: a column for each config key that differs, and a row for runs that differ only in seed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_lab.catalogue.comparison.statistics import Summary, summarize
from diffusion_lab.errors import LabError, unknown_key
from diffusion_lab.run_folder.fingerprint import DECIDES_NOTHING
from diffusion_lab.run_folder.run_record import RunRecord, plain

_TARGET = "._target_"
#: Keys that make no column. Where the data lies does not matter, since its hash is compared; nor does what is logged.
_IGNORED = (
    *DECIDES_NOTHING,
    "callbacks.evaluation",
    "callbacks.samples",
    "callbacks.telemetry",
    "callbacks.timestep_loss",
    "data.data_dir",
    "seed",
    "trainer.log_every_n_steps",
)
_DATA_HASH = "data (hash)"
_MAX_SHOWN_COLUMNS = 6
ABSENT = "–"


@dataclass(frozen=True)
class Group:
    """A row: the runs that agree in all columns.

    Attributes:
        label: the row in a few words.
        column_values: by column, as text.
        runs: by unit, which is the seed and the value of every column that is averaged over.
    """

    label: str
    column_values: dict[str, str]
    runs: dict[str, RunRecord]

    def metric_values(self, metric: str) -> dict[str, float]:
        """Return the finite values of a metric by unit."""
        found = {unit: run.metrics.get(metric, math.nan) for unit, run in self.runs.items()}
        return {unit: value for unit, value in found.items() if math.isfinite(value)}

    def summary(self, metric: str) -> Summary | None:
        """Summarize a metric over the runs; None if no run has a finite value."""
        values = self.metric_values(metric)
        return summarize(list(values.values())) if values else None


@dataclass(frozen=True)
class Grouping:
    """All rows and columns.

    Attributes:
        columns: the keys in which the configs differ. If the option of a group differs (another schedule), that
            option's own arguments are no columns.
        shown_columns: all columns, or if these are many, as few as distinguish the rows.
        averaged_columns: the columns that `by` leaves out.
        groups: in the order in which they were found.
        superseded: runs that are left out because a newer one has the same config and seed.
    """

    columns: list[str]
    shown_columns: list[str]
    averaged_columns: list[str]
    groups: list[Group]
    superseded: list[RunRecord]


def group_runs(runs: Sequence[RunRecord], by: Sequence[str] = ()) -> Grouping:
    """Group runs into rows of equal configs.

    Args:
        runs: the newer ones last.
        by: the columns that make the rows; if empty, all.

    Raises:
        LabError: naming an entry of `by` that is not a column.
    """
    configs = [_compared_config(run) for run in runs]
    differing = _differing_columns(configs)
    for column in by:
        if column not in differing:
            raise LabError(f"by={column}: {unknown_key(column, differing)} (the keys in which these runs differ)")
    columns = [column for column in differing if not by or column in by]
    averaged_columns = [column for column in differing if column not in columns]
    names = _option_names(runs, configs, columns)
    rows: dict[str, dict[str, RunRecord]] = {}
    values: dict[str, dict[str, str]] = {}
    superseded = []
    for run, config in zip(runs, configs, strict=True):
        row = _identity(config, columns)
        values[row] = {column: _column_text(config, column, names) for column in columns}
        unit = json.dumps([run.seed, _identity(config, averaged_columns)], default=str)
        row_runs = rows.setdefault(row, {})
        if unit in row_runs:
            superseded.append(row_runs.pop(unit))
        row_runs[unit] = run
    few = _distinguishing_columns(columns, list(values.values()))
    groups = [Group(_label(values[row], few), values[row], row_runs) for row, row_runs in rows.items()]
    shown_columns = columns if len(columns) <= _MAX_SHOWN_COLUMNS else few
    return Grouping(columns, shown_columns, averaged_columns, groups, superseded)


def shared_config(runs: Sequence[RunRecord]) -> dict[str, str]:
    """Return the keys that have the same value in all runs, with their values as text."""
    configs = [_compared_config(run) for run in runs]
    first = configs[0]
    shared = [key for key in first if all(_comparable(config, key) == _comparable(first, key) for config in configs)]
    return {key: _value_text(first[key]) for key in shared if key != _DATA_HASH}


def _compared_config(run: RunRecord) -> dict[str, Any]:
    """The config of a run without the keys that make no column, and with a hash of its data."""
    ignored = tuple(f"{key}." for key in _IGNORED)
    config = {key: value for key, value in run.config.items() if not f"{key}.".startswith(ignored) and value != {}}
    if isinstance(data := run.manifest.get("data"), Mapping):
        config[_DATA_HASH] = hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=4).hexdigest()
    return config


def _differing_columns(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns, in the order of the configs; ``schedule`` stands for ``schedule._target_``."""
    keys = list(dict.fromkeys(key for config in configs for key in config))
    found = []
    for key in keys:
        # Different options have different arguments, which adds no information: so values are compared only between
        # configs in which the nodes above the key have the same options.
        nodes = [key[:i] for i, letter in enumerate(key) if letter == "."]
        targets = [f"{node}{_TARGET}" for node in nodes if f"{node}{_TARGET}" != key]
        values: dict[tuple[str, ...], set[str]] = {}
        for config in configs:
            options = tuple(_comparable(config, target) for target in targets)
            values.setdefault(options, set()).add(_comparable(config, key))
        if any(len(different) > 1 for different in values.values()):
            found.append(key.removesuffix(_TARGET))
    return found


def _comparable(config: Mapping[str, Any], key: str) -> str:
    """A value as JSON, in which 1 differs from true, and null from a key that is absent."""
    return json.dumps(config[key], default=str) if key in config else ABSENT


def _identity(config: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The values of some columns as one string, which is equal for equal values only."""
    return json.dumps([_comparable(config, f"{c}{_TARGET}" if f"{c}{_TARGET}" in config else c) for c in columns])


def _option_names(
    runs: Sequence[RunRecord], configs: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> dict[tuple[str, str], str]:
    """The name of the option that was typed, by column and target, if all runs agree on it."""
    found: dict[tuple[str, str], set[str]] = {}
    for run, config in zip(runs, configs, strict=True):
        options = run.manifest.get("options")
        for column in columns:
            if isinstance(options, Mapping) and (option := options.get(column)):
                found.setdefault((column, str(config.get(f"{column}{_TARGET}"))), set()).add(plain(option, 60))
    return {place: names.pop() for place, names in found.items() if len(names) == 1}


def _column_text(config: Mapping[str, Any], column: str, names: Mapping[tuple[str, str], str]) -> str:
    target = config.get(f"{column}{_TARGET}")
    if target is None:
        return _value_text(config[column]) if column in config else ABSENT
    return names.get((column, str(target))) or plain(str(target).rpartition(".")[2], 60)


def _distinguishing_columns(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """A few columns that distinguish all rows, chosen greedily."""
    chosen: list[str] = []

    def distinct_rows(by: Sequence[str]) -> int:
        return len({tuple(row[column] for column in by) for row in rows})

    while len(chosen) < len(columns) and distinct_rows(chosen) < distinct_rows(columns):
        rest = [column for column in columns if column not in chosen]
        chosen.append(max(rest, key=lambda column: distinct_rows([*chosen, column])))
    return [column for column in columns if column in chosen]


def _label(values: Mapping[str, str], columns: Sequence[str]) -> str:
    """The values of a row; those of dotted keys with the last part of the key, as in ``cosine, base_channels 16``."""
    parts = [
        values[column]
        if "." not in column and values[column] != ABSENT
        else f"{column.rpartition('.')[2]} {values[column]}"
        for column in columns
    ]
    return ", ".join(parts) or "the only config"


def _value_text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    return plain(value, 60)
