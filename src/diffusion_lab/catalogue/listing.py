"""The command behind `scripts/runs.py`: list runs, change their tags and notes, remove them."""

from __future__ import annotations

import datetime
import fnmatch
import math
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffusion_lab.catalogue import prune
from diffusion_lab.catalogue.find import find_runs, output_dir
from diffusion_lab.catalogue.metric_names import lower_is_better, unknown_metric_message
from diffusion_lab.catalogue.number_format import format_number
from diffusion_lab.config.reader_schema import RunsConfig
from diffusion_lab.errors import LabError, did_you_mean
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.run_record import STATES, RunRecord, plain

#: The metric that is shown where none is named; a run without validation has none.
_DEFAULT_METRIC = "val/loss_best"

_SECONDS_PER_UNIT = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def manage_runs(paths: Sequence[str], settings: RunsConfig) -> None:
    """List the runs in `paths`, after changing their tags and notes, or remove them, as the settings say.

    Raises:
        LabError: naming a path or a setting that does not fit.
    """
    now = datetime.datetime.now(datetime.UTC)
    known = find_runs(paths or [output_dir()])
    selected = [run for run in known if _matches(run, settings, now)]
    edits = bool(settings.add_tag or settings.remove_tag or settings.notes is not None)
    filters = bool(settings.state or settings.name or settings.tag or settings.older_than)
    if (edits or settings.prune) and not (paths or filters):
        raise LabError("this would affect every run: give folders, or a filter such as state=failed")
    if not settings.prune:
        _check_metric(selected, settings.metric)
    if edits:
        for run in selected:
            _edit_tags_and_notes(run, settings)
    if settings.prune:
        _prune(selected, known, settings.prune, settings.confirm)
    else:
        _print_list(selected, len(known), settings, now)


def _check_metric(selected: Sequence[RunRecord], metric: str | None) -> None:
    """Raise LabError if a metric was named that none of the runs has, though all of them have ended."""
    measured = [_read(run, "metrics", {}) for run in selected]
    if metric is None or not selected or any(not math.isnan(found.get(metric, math.nan)) for found in measured):
        return
    if all(run.state == "finished" for run in selected):
        raise LabError(unknown_metric_message(metric, sorted({name for found in measured for name in found})))


def _matches(run: RunRecord, settings: RunsConfig, now: datetime.datetime) -> bool:
    """Whether a run passes all filters."""
    for state in settings.state:
        if state not in STATES:
            raise LabError(f"state={state}: it must be one of {', '.join(STATES)}{did_you_mean(state, STATES)}")
    if settings.state and run.state not in settings.state:
        return False
    if settings.name is not None and not fnmatch.fnmatchcase(_read(run, "name", ""), settings.name):
        return False
    if not set(settings.tag) <= set(_read(run, "tags", [])):
        return False
    if settings.older_than is None:
        return True
    age = _age(run, now)
    return age is not None and age > int(settings.older_than[:-1]) * _SECONDS_PER_UNIT[settings.older_than[-1]]


def _edit_tags_and_notes(run: RunRecord, settings: RunsConfig) -> None:
    tags = [tag for tag in dict.fromkeys([*run.tags, *settings.add_tag]) if tag not in settings.remove_tag]
    run.label(tags, run.notes if settings.notes is None else plain(settings.notes))


def _print_list(selected: list[RunRecord], known_count: int, settings: RunsConfig, now: datetime.datetime) -> None:
    if not selected:
        print(f"None of {known_count} runs matches.")
        return
    metric = settings.metric or _DEFAULT_METRIC
    values = {run.path: _read(run, "metrics", {}).get(metric, math.nan) for run in selected}
    rows = [
        (
            run.state,
            _format_age(_age(run, now)),
            _read(run, "name", "?"),
            format_number(values[run.path]),
            _format_size(run.size),
            " ".join(_read(run, "tags", [])),
            plain(shown(run.path)),
            _read(run, "notes", ""),
        )
        for run in _sorted(selected, values, metric, settings.sort, now)
    ]
    headings = ("state", "age", "experiment", metric, "size", "tags", "folder", "notes")
    print(_table(headings, rows, right_aligned={1, 3, 4}))
    counts = Counter(run.state for run in selected)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    size = _format_size(sum(run.size for run in selected))
    print(f"\n{len(selected)} run{'s' * (len(selected) != 1)}, {size}: {states}")


def _sorted(
    selected: list[RunRecord], values: dict[Path, float], metric: str, sort: str, now: datetime.datetime
) -> list[RunRecord]:
    if sort == "metric":
        try:
            sign = 1 if lower_is_better(metric) else -1
        except LabError as error:
            raise LabError(f"sort=metric: whether lower or higher is better is unknown for metric={metric}") from error
        return sorted(selected, key=lambda run: (math.isnan(values[run.path]), sign * values[run.path]))
    keys: dict[str, Callable[[RunRecord], Any]] = {
        "age": lambda run: _age(run, now) or 0.0,
        "size": lambda run: -run.size,
        "name": lambda run: _read(run, "name", ""),
        "state": lambda run: STATES.index(run.state),
    }
    return sorted(selected, key=keys[sort])


def _prune(selected: list[RunRecord], known: list[RunRecord], scope: prune.Scope, confirm: bool) -> None:
    # A run that is not in `known` may have started from the weights of a selected one: look for it in the folders
    # around the selected ones, and in the default output folder.
    folders = {run.path.parent for run in selected} | ({output_dir()} if output_dir().is_dir() else set())
    all_runs = {run.path.resolve(): run for run in [*known, *_runs_in(folders)]}
    plan = prune.plan_pruning(selected, list(all_runs.values()), scope)
    for run, reason in plan.kept:
        print(f"kept          {plain(shown(run.path))}: {plain(reason)}")
    for run, size in plan.removable:
        if confirm:
            prune.remove(run, scope)
        action = "removed" if confirm else "would remove"
        print(f"{action:13} {plain(shown(run.path))}  {run.state}, {_format_size(size)}")
    count, freed = len(plan.removable), _format_size(sum(size for _, size in plan.removable))
    removed = f"{'' if scope == 'runs' else 'the checkpoints of '}{count} run{'s' * (count != 1)}"
    if confirm:
        print(f"Removed {removed} and freed {freed}.")
    else:
        print(f"This would remove {removed} and free {freed}. Nothing has been removed: add confirm=true to do it.")


def _runs_in(folders: set[Path]) -> list[RunRecord]:
    found = []
    for folder in folders:
        try:
            found += find_runs([folder])
        except LabError:  # it contains no run
            continue
    return found


def _age(run: RunRecord, now: datetime.datetime) -> float | None:
    """Seconds since the run started; None if that is unknown."""
    started = _read(run, "started", None)
    return (now - started).total_seconds() if started else None


def _format_age(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _format_size(byte_count: int) -> str:
    size = float(byte_count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _read(run: RunRecord, attribute: str, default: Any) -> Any:
    """An attribute of a run; `default` if the files that hold it are damaged."""
    try:
        return getattr(run, attribute)
    except LabError:
        return default


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], right_aligned: set[int]) -> str:
    """Aligned columns without empty ones; on a terminal, lines are cut at its width."""
    columns = [i for i in range(len(headings)) if any(row[i] for row in rows)]
    widths = {i: max(len(headings[i]), *(len(row[i]) for row in rows)) for i in columns}
    sides = {i: ">" if i in right_aligned else "<" for i in columns}
    lines = ["  ".join(f"{row[i]:{sides[i]}{widths[i]}}" for i in columns).rstrip() for row in (headings, *rows)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return "\n".join(line[:limit] for line in lines)
