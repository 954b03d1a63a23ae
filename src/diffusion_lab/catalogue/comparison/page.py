"""The comparison as one HTML page that needs no network and no other file.

All text from run folders is untrusted. Jinja2 escapes it, or writes it as JSON that the page's script inserts as text.
The page's Content-Security-Policy allows only the shipped script to run and nothing to be fetched.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import math
import sys
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2

from diffusion_lab.catalogue.comparison.comparison import Comparison
from diffusion_lab.catalogue.comparison.groups import Group, shared_config
from diffusion_lab.catalogue.comparison.sample_sheets import sample_sheet, sample_text
from diffusion_lab.catalogue.comparison.tables import INTERVAL_HEADING, interval_text
from diffusion_lab.catalogue.number_format import decimals_for_spread, format_number
from diffusion_lab.console import duration
from diffusion_lab.run_folder import command_lines
from diffusion_lab.run_folder.run_record import RunRecord, plain

_MAX_CURVE_POINTS = 200
_MAX_SAMPLES = 120
_MAX_CHARACTERS = 240  # of a text
_COLOURS = 10
_DEFAULT_METRICS = 4  # columns of the results, unless more metrics were asked for
_CURVE_LABELS = {"val/loss": "validation", "train/loss": "training"}
_PLOT_WIDTH, _PLOT_HEIGHT, _PLOT_MARGIN = 170, 30, 8  # pixels


def render_page(comparison: Comparison) -> str:
    """Return the page as HTML."""
    runs = [run for group in comparison.rows for run in group.runs.values()]
    ranking_metric, shared = comparison.metrics[0], shared_config(runs)
    metrics = _result_metrics(comparison)
    curves = [name for name in _CURVE_LABELS if any(name in run.curves for run in runs)]
    rows = [
        _row(comparison, metrics, index, group, samples)
        for index, (group, samples) in enumerate(zip(comparison.rows, _samples(comparison), strict=True))
    ]
    any_tags, any_notes = any(run.tags for run in runs), any(run.notes for run in runs)
    script = _read_resource("page.js")
    return page_template().render(
        title=f"{len(runs)} run{'s' * (len(runs) > 1)} by {ranking_metric}",
        subtitle=_subtitle(comparison),
        verdict=comparison.verdict,
        ranking_metric=ranking_metric,
        key_columns=[_column(name) for name in comparison.grouping.shown_columns],
        metric_columns=[
            _column(metrics[0], is_number=True, sort="ascending" if comparison.lower_is_better else "descending"),
            *(_column(metric, is_number=True) for metric in metrics[1:]),
        ],
        interval_column=_column(INTERVAL_HEADING, is_number=True),
        count_column=_column("runs", is_number=True),
        rows=rows,
        remarks=comparison.remarks,
        curves=[{"name": name, "label": _CURVE_LABELS[name]} for name in curves],
        any_samples=any(row["samples"] for row in rows),
        same_sampling_seed="sampling.seed" in shared,
        run_columns=_run_columns(comparison, any_tags, any_notes),
        runs=[
            _run(comparison, row, run)
            for row, group in zip(rows, comparison.rows, strict=True)
            for run in group.runs.values()
        ],
        any_tags=any_tags,
        any_notes=any_notes,
        shared_config=list(shared.items()),
        command=command_lines.typed("compare", sys.argv[1:]),
        written=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        curve_data=_curve_data(comparison, curves),
        style=_read_resource("page.css"),
        script=script,
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    )


def page_template() -> jinja2.Template:
    """Return the page's template, which escapes every value and in which an undefined one is an error."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.from_string(_read_resource("page.html.jinja"))


def _read_resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _subtitle(comparison: Comparison) -> str:
    """The numbers of configs and runs, and whether lower or higher is better."""
    sizes = {len(group.runs) for group in comparison.rows}
    runs_each = f"{sizes.pop()} of each" if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)} of each"
    better = "lower" if comparison.lower_is_better else "higher"
    configs = len(comparison.rows)
    return f"{configs} config{'s' * (configs > 1)} · {runs_each} · {better} is better"


def _result_metrics(comparison: Comparison) -> list[str]:
    """The metrics in the results: those asked for, then losses, evaluations and times that vary between runs."""
    losses = ("val/loss", "val/loss_best", "train/loss")
    candidates = [m for m in comparison.all_metrics if m in losses or ("/" not in m and m != "step")]
    varying = [
        metric
        for metric in candidates
        if len({run.metrics.get(metric) for group in comparison.rows for run in group.runs.values()}) > 1
    ]
    return list(dict.fromkeys([*comparison.metrics, *varying]))[: max(len(comparison.metrics), _DEFAULT_METRICS)]


def _column(name: str, is_number: bool = False, sort: str = "") -> dict[str, Any]:
    """A column's heading; the part of `name` up to its last dot or slash is the `prefix`."""
    cut = max(name.rfind("."), name.rfind("/")) + 1
    return {"prefix": name[:cut], "name": name[cut:], "is_number": is_number, "sort": sort}


def _run_columns(comparison: Comparison, any_tags: bool, any_notes: bool) -> list[dict[str, Any]]:
    numbers = ("seed", *comparison.metrics, "time")
    labels = ["tags"] * any_tags + ["notes"] * any_notes
    return [_column(name, is_number=name in numbers) for name in ("run", *numbers, "state", *labels)]


def _row(
    comparison: Comparison, metrics: Sequence[str], index: int, group: Group, samples: list[dict[str, Any]]
) -> dict[str, Any]:
    """A row of the results, with what the chart's legend and the samples show of it."""
    summary = group.summary(metrics[0])
    return {
        "index": index,
        "colour": index % _COLOURS,
        "label": group.label,
        "is_best": group is comparison.best,
        "column_values": [group.column_values[column] for column in comparison.grouping.shown_columns],
        "means": [_mean(group, metric) for metric in metrics],
        "plot": _plot(comparison, group, metrics[0]),
        "interval": interval_text(group, metrics[0]),
        "interval_sort_value": summary.low if summary and summary.n > 1 else "",
        "run_count": len(group.runs),
        "samples": samples,
    }


def _mean(group: Group, metric: str) -> dict[str, Any]:
    summary = group.summary(metric)
    if summary is None:
        return {"text": "–", "spread": "", "sort_value": ""}
    decimals = decimals_for_spread(summary.std)
    spread = "" if decimals is None else format_number(summary.std, decimals)
    return {"text": format_number(summary.mean, decimals), "spread": spread, "sort_value": summary.mean}


def _plot(comparison: Comparison, group: Group, metric: str) -> dict[str, Any] | None:
    """Horizontal positions, in pixels, of a row's runs, mean and interval and of the best row's mean."""
    summary, best = group.summary(metric), comparison.best.summary(metric)
    if summary is None or best is None:
        return None
    values = [value for row in comparison.rows for value in row.metric_values(metric).values()]
    low, high = min(values), max(values)

    def position(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(_PLOT_MARGIN + (_PLOT_WIDTH - 2 * _PLOT_MARGIN) * share, 1)

    return {
        "width": _PLOT_WIDTH,
        "height": _PLOT_HEIGHT,
        "points": [position(value) for value in group.metric_values(metric).values()],
        "interval": [position(summary.low), position(summary.high)] if summary.n > 1 else None,
        "mean": position(summary.mean),
        "best_mean": position(best.mean),
    }


def _samples(comparison: Comparison) -> list[list[dict[str, Any]]]:
    """For each row, a sheet or a text of samples of each run that has any; at most `_MAX_SAMPLES` in all."""
    samples: list[list[dict[str, Any]]] = []
    for group in comparison.rows:
        samples.append([])
        for run in group.runs.values():
            if sum(map(len, samples)) >= _MAX_SAMPLES:
                break
            folder = run.path / "samples"
            sheet = sample_sheet(folder / "final.npy")
            text = sample_text(folder / "final.txt", _MAX_CHARACTERS) if sheet is None else None
            if sheet is None and not text:
                continue
            samples[-1].append(
                {
                    "folder": plain(run.path.name),
                    "png": None if sheet is None else base64.b64encode(sheet).decode(),
                    "text": text,
                    "seed": plain(run.seed, 20),
                    "value": format_number(run.metrics.get(comparison.metrics[0], math.nan)),
                }
            )
    return samples


def _run(comparison: Comparison, row: dict[str, Any], run: RunRecord) -> dict[str, Any]:
    """A row of the table of single runs."""
    values = [run.metrics.get(metric, math.nan) for metric in (*comparison.metrics, "wall_time_s")]
    texts = [*map(format_number, values[:-1]), "–" if math.isnan(values[-1]) else duration(values[-1])]
    return {
        "index": row["index"],
        "colour": row["colour"],
        "label": row["label"],
        "path": plain(run.path),
        "folder": plain(run.path.name),
        "seed": plain(run.seed, 20),
        "numbers": [
            {"text": text, "sort_value": value if math.isfinite(value) else ""}
            for text, value in zip(texts, values, strict=True)
        ],
        "state": run.state,
        "tags": run.tags,
        "notes": run.notes,
    }


def _curve_data(comparison: Comparison, curves: Sequence[str]) -> dict[str, Any]:
    """The curves of every run by row, as the page's script reads them."""
    groups = [
        {
            "label": group.label,
            "runs": [{name: _thin_out(run.curves.get(name, [])) for name in curves} for run in group.runs.values()],
        }
        for group in comparison.rows
    ]
    return {"curves": list(curves), "groups": groups}


def _thin_out(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    """At most `_MAX_CURVE_POINTS` evenly spaced points of a curve; the last one is always kept."""
    every = -(-len(points) // _MAX_CURVE_POINTS)
    kept = [point for i, point in enumerate(points) if (len(points) - 1 - i) % every == 0]
    return [[step, float(f"{value:.5g}")] for step, value in kept]
