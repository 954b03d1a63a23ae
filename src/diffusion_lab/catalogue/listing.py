"""What `scripts/runs.py` does: list runs, mark them, remove them."""

from __future__ import annotations

import datetime
import fnmatch
import math
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from diffusion_lab.catalogue import prune
from diffusion_lab.catalogue.find import find_runs, output_dir
from diffusion_lab.catalogue.metric_names import lower_is_better, no_metric, number
from diffusion_lab.config.schema import RunsConfig
from diffusion_lab.errors import LabError, did_you_mean
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.run_record import STATES, RunRecord, plain

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def runs(paths: Sequence[str], settings: RunsConfig) -> None:
    """List the runs in `paths`, or do with them what the settings say.

    Raises:
        LabError: naming what was typed and does not fit.
    """
    now = datetime.datetime.now(datetime.UTC)
    known = find_runs(paths or [output_dir()])
    chosen = [run for run in known if _matches(run, settings, now)]
    marks = bool(settings.add_tag or settings.remove_tag or settings.notes is not None)
    if (marks or settings.prune) and not (paths or _filtered(settings)):
        raise LabError("this would be done to every run: name folders, or a filter such as state=failed")
    if marks:
        for run in chosen:
            _mark(run, settings)
    if settings.prune:
        _prune(chosen, known, settings)
    else:
        _list(chosen, len(known), settings, now)


def _filtered(settings: RunsConfig) -> bool:
    return bool(settings.state or settings.name or settings.tag or settings.older_than)


def _matches(run: RunRecord, settings: RunsConfig, now: datetime.datetime) -> bool:
    for state in settings.state:
        if state not in STATES:
            raise LabError(f"state={state}: it must be one of {', '.join(STATES)}{did_you_mean(state, STATES)}")
    if settings.state and run.state not in settings.state:
        return False
    if settings.name is not None and not fnmatch.fnmatchcase(_or(run, "name", ""), settings.name):
        return False
    if not set(settings.tag) <= set(_or(run, "tags", [])):
        return False
    if settings.older_than is None:
        return True
    age = _age(run, now)
    return age is not None and age > int(settings.older_than[:-1]) * _UNITS[settings.older_than[-1]]


def _mark(run: RunRecord, settings: RunsConfig) -> None:
    tags = [tag for tag in dict.fromkeys([*run.tags, *settings.add_tag]) if tag not in settings.remove_tag]
    run.label(tags, run.notes if settings.notes is None else plain(settings.notes))


def _list(chosen: list[RunRecord], looked_at: int, settings: RunsConfig, now: datetime.datetime) -> None:
    if not chosen:
        print(f"None of {looked_at} runs is like that.")
        return
    values = {run.path: _or(run, "metrics", {}).get(settings.metric, math.nan) for run in chosen}
    if all(math.isnan(value) for value in values.values()) and all(run.state == "finished" for run in chosen):
        names = sorted({name for run in chosen for name in _or(run, "metrics", {})})
        raise LabError(no_metric(settings.metric, names))
    rows = [
        (
            run.state,
            _ago(_age(run, now)),
            _or(run, "name", "?"),
            number(values[run.path]),
            _bytes(run.size),
            " ".join(_or(run, "tags", [])),
            plain(shown(run.path)),
            _or(run, "notes", ""),
        )
        for run in _sorted(chosen, values, settings, now)
    ]
    heads = ("state", "age", "experiment", settings.metric, "size", "tags", "folder", "notes")
    print(_table(heads, rows, right={1, 3, 4}))
    counts = Counter(run.state for run in chosen)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    print(f"\n{len(chosen)} run{'s' * (len(chosen) != 1)}, {_bytes(sum(run.size for run in chosen))}: {states}")


def _sorted(
    chosen: list[RunRecord], values: dict[Any, float], settings: RunsConfig, now: datetime.datetime
) -> list[RunRecord]:
    if settings.sort == "metric":
        try:
            sign = 1 if lower_is_better(settings.metric) else -1
        except LabError as error:
            raise LabError(f"sort=metric: which way metric={settings.metric} is better is not known") from error
        return sorted(chosen, key=lambda run: (math.isnan(values[run.path]), sign * values[run.path]))
    keys: dict[str, Callable[[RunRecord], Any]] = {
        "age": lambda run: _age(run, now) or 0.0,
        "size": lambda run: -run.size,
        "name": lambda run: _or(run, "name", ""),
        "state": lambda run: STATES.index(run.state),
    }
    return sorted(chosen, key=keys[settings.sort])


def _prune(chosen: list[RunRecord], known: list[RunRecord], settings: RunsConfig) -> None:
    assert settings.prune is not None
    # One that is not looked at here may have begun with the weights of one that is.
    around = {run.path.parent for run in chosen} | ({output_dir()} if output_dir().is_dir() else set())
    everywhere = {run.path.resolve(): run for run in [*known, *_runs_around(around)]}
    plan = prune.plan(chosen, list(everywhere.values()), settings.prune)
    for run, reason in plan.staying:
        print(f"stays    {plain(shown(run.path))}: {plain(reason)}")
    freed = 0
    for run, size in plan.going:
        if settings.confirm:
            prune.remove(run, settings.prune)
        freed += size
        print(f"{'removed' if settings.confirm else 'would go'} {plain(shown(run.path))}  {run.state}, {_bytes(size)}")
    what = f"{len(plan.going)} run{'s' * (len(plan.going) != 1)}"
    what = what if settings.prune == "runs" else f"the checkpoints of {what}"
    if settings.confirm:
        print(f"Removed {what}: {_bytes(freed)} are free.")
    else:
        print(
            f"This would remove {what} and free {_bytes(freed)}. Nothing has been removed: add confirm=true to do it."
        )


def _runs_around(folders: set[Any]) -> list[RunRecord]:
    found = []
    for folder in folders:
        try:
            found += find_runs([folder])
        except LabError:  # none there
            continue
    return found


def _age(run: RunRecord, now: datetime.datetime) -> float | None:
    """Seconds since the run began."""
    started = _or(run, "started", None)
    return (now - started).total_seconds() if started else None


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _or(run: RunRecord, fact: str, otherwise: Any) -> Any:
    """What a run's folder says, or `otherwise` where its files are damaged."""
    try:
        return getattr(run, fact)
    except LabError:
        return otherwise


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> str:
    """Aligned columns, those of nothing left out; a line is cut where the terminal ends, if there is one."""
    columns = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    widths = {i: max(len(heads[i]), *(len(row[i]) for row in rows)) for i in columns}
    lines = [
        "  ".join(f"{row[i]:>{widths[i]}}" if i in right else f"{row[i]:<{widths[i]}}" for i in columns).rstrip()
        for row in (heads, *rows)
    ]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return "\n".join(line[:limit] for line in lines)
