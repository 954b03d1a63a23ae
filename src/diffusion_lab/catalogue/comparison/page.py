"""A comparison as one HTML page that needs nothing else: no network, no other file.

All text of run folders is untrusted. It is escaped here, or reaches the document by way of JSON as text; and the page's
own policy lets nothing run but the script that is shipped with it, and nothing be fetched.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import html
import json
import math
import re
import shlex
import sys
from collections.abc import Sequence
from importlib import resources

from diffusion_lab.catalogue.comparison.comparison import Comparison
from diffusion_lab.catalogue.comparison.groups import Group, shared
from diffusion_lab.catalogue.comparison.sample_sheets import sample_sheet
from diffusion_lab.catalogue.comparison.tables import interval
from diffusion_lab.catalogue.metric_names import decimals_of, number
from diffusion_lab.console import duration
from diffusion_lab.run_folder.run_record import RunRecord, plain

_POINTS = 200  # of a curve
_PICTURES = 120  # on a page
_COLOURS = 10
_METRICS = 4  # in the results, where no more are asked for
_CURVES = {"val/loss": "validation", "train/loss": "training"}
_PLOT = (170, 30)  # pixels


def page(comparison: Comparison) -> str:
    """The page."""
    parts = {name: _shipped(f"page.{name}") for name in ("html", "css", "js")}
    runs = [run for group in comparison.rows for run in group.runs.values()]
    metric, alike = comparison.metrics[0], shared(runs)
    curves = [name for name in _CURVES if any(name in run.curves for run in runs)]
    values = {
        "title": _text(f"{len(runs)} run{'s' * (len(runs) > 1)} by {metric}"),
        "facts": _text(_facts(comparison, len(runs))),
        "word": comparison.verdict.word,
        "sentence": _text(comparison.verdict.sentence),
        "heads": _heads(comparison),
        "rows": "\n".join(_row(comparison, i, group) for i, group in enumerate(comparison.rows)),
        "remarks": "".join(f"<li>{_text(line)}</li>" for line in comparison.words[1:]),
        "curve_buttons": "".join(
            f'<button type="button" data-value="{name}" aria-pressed="{str(name == curves[0]).lower()}">'
            f"{_CURVES[name]}</button>"
            for name in curves
        ),
        "chips": "".join(
            f'<button type="button" class="c{i % _COLOURS}" data-group="{i}" data-hover="{i}" aria-pressed="true">'
            f'<span class="key"></span>{_text(group.label)}</button>'
            for i, group in enumerate(comparison.rows)
        ),
        "samples": _samples(comparison, alike),
        **_runs(comparison),
        "shared_count": str(len(alike)),
        "shared": "".join(f"<div><dt>{_text(key)}</dt><dd>{_text(value)}</dd></div>" for key, value in alike.items()),
        "command": _text(shlex.join(["python", *sys.argv])),
        "written": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        "data": _data(comparison, curves),
        "style": parts["css"],
        "script": parts["js"],
        "script_hash": f"sha256-{base64.b64encode(hashlib.sha256(parts['js'].encode()).digest()).decode()}",
    }
    # In one pass: what is put in is not looked through for places to put something in.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], parts["html"])


def _shipped(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _text(text: str) -> str:
    return html.escape(text)


def _facts(comparison: Comparison, runs: int) -> str:
    sizes = {len(group.runs) for group in comparison.rows}
    each = f"{sizes.pop()} of each" if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)} of each"
    better = "lower" if comparison.lower else "higher"
    configs = len(comparison.rows)
    return f"{configs} config{'s' * (configs > 1)} · {each} · {better} is better"


def _metrics(comparison: Comparison) -> list[str]:
    """The metrics of the results: those that were asked for, and of the losses, evaluations and times what varies."""
    losses = ("val/loss", "val/loss_best", "train/loss")
    candidates = [m for m in comparison.all_metrics if m in losses or ("/" not in m and m != "step")]
    varying = [
        metric
        for metric in candidates
        if len({run.metrics.get(metric) for group in comparison.rows for run in group.runs.values()}) > 1
    ]
    return list(dict.fromkeys([*comparison.metrics, *varying]))[: max(len(comparison.metrics), _METRICS)]


def _heads(comparison: Comparison) -> str:
    metrics = _metrics(comparison)
    ascending = "ascending" if comparison.lower else "descending"
    heads = [_head(column) for column in comparison.grouping.telling]
    heads += [_head(metrics[0], True, ascending), "<th>each run</th>", _head("95 % interval", True)]
    heads += [_head(metric, True) for metric in metrics[1:]] + [_head("runs", True)]
    return '<th aria-label="shown"></th>' + "".join(heads)


def _head(name: str, is_number: bool = False, sort: str = "") -> str:
    """A dotted key on two lines, its last part below."""
    cut = max(name.rfind("."), name.rfind("/")) + 1
    small = f"<small>{_text(name[:cut])}</small>" if cut else ""
    attributes = ' class="number"' * is_number + (f' aria-sort="{sort}"' if sort else "")
    return f'<th{attributes}><button type="button">{small}{_text(name[cut:])}</button></th>'


def _row(comparison: Comparison, index: int, group: Group) -> str:
    metrics = _metrics(comparison)
    key = (
        f'<td><button type="button" class="c{index % _COLOURS}" data-group="{index}" aria-pressed="true" '
        f'title="show or hide"><span class="key"></span></button></td>'
    )
    cells = [f"<td>{_text(group.values[column])}</td>" for column in comparison.grouping.telling]
    found = group.summary(metrics[0])
    cells += [
        _mean(group, metrics[0]),
        f'<td class="plot">{_plot(comparison, index, group, metrics[0])}</td>',
        f'<td class="number spread" data-value="{found.low if found and found.n > 1 else ""}">'
        f"{_text(interval(group, metrics[0]))}</td>",
        *(_mean(group, metric) for metric in metrics[1:]),
        f'<td class="number">{len(group.runs)}</td>',
    ]
    best = ' class="best"' if group is comparison.best else ""
    return f'<tr{best} data-hover="{index}">{key}{"".join(cells)}</tr>'


def _mean(group: Group, metric: str) -> str:
    found = group.summary(metric)
    if found is None:
        return '<td class="number" data-value="">–</td>'
    decimals = decimals_of(found.std)
    spread = "" if decimals is None else f' <span class="spread">± {number(found.std, decimals)}</span>'
    return f'<td class="number" data-value="{found.mean!r}">{number(found.mean, decimals)}{spread}</td>'


def _plot(comparison: Comparison, index: int, group: Group, metric: str) -> str:
    """Each run as a point, the interval as a bar, the mean as a line, and dashed the best row's mean."""
    everything = [value for row in comparison.rows for value in row.numbers(metric).values()]
    found, best = group.summary(metric), comparison.best.summary(metric)
    if found is None or best is None:
        return ""
    width, height = _PLOT
    low, high = min(everything), max(everything)
    middle = height / 2

    def x(value: float) -> str:
        return f"{8 + (width - 16) * ((value - low) / (high - low) if high > low else 0.5):.1f}"

    points = "".join(
        f'<circle class="point" cx="{x(value)}" cy="{middle}" r="2.8"/>' for value in group.numbers(metric).values()
    )
    bar = (
        f'<line class="range" x1="{x(found.low)}" x2="{x(found.high)}" y1="{middle}" y2="{middle}"/>'
        if found.n > 1
        else ""
    )
    return (
        f'<svg class="c{index % _COLOURS}" width="{width}" height="{height}" role="img" '
        f'aria-label="{_text(metric)} of each run">'
        f'<line class="axis" x1="0" x2="{width}" y1="{middle}" y2="{middle}"/>'
        f'<line class="axis next" x1="{x(best.mean)}" x2="{x(best.mean)}" y1="0" y2="{height}"/>{bar}'
        f'<line class="mean" x1="{x(found.mean)}" x2="{x(found.mean)}" y1="{middle - 6}" y2="{middle + 6}"/>'
        f"{points}</svg>"
    )


def _samples(comparison: Comparison, alike: dict[str, str]) -> str:
    strips, left = [], _PICTURES
    for index, group in enumerate(comparison.rows):
        figures = []
        for run in group.runs.values():
            sheet = sample_sheet(run.path / "samples" / "final.npy") if left > 0 else None
            if sheet is None:
                continue
            left -= 1
            value = run.metrics.get(comparison.metrics[0], math.nan)
            figures.append(
                f'<figure><img alt="samples of {_text(plain(run.path.name))}" '
                f'src="data:image/png;base64,{base64.b64encode(sheet).decode()}">'
                f"<figcaption><span>{_text(_unit(run))}</span><span>{number(value)}</span></figcaption></figure>"
            )
        if figures:
            strips.append(
                f'<div class="strip" data-hover="{index}"><h3 class="c{index % _COLOURS}"><span class="key"></span>'
                f'{_text(group.label)}</h3><div class="grids">{"".join(figures)}</div></div>'
            )
    if not strips:
        return '<p class="note">No run has samples.</p>'
    same = "All began with the same noise. " if "sampling.seed" in alike else ""
    note = f"{same}Below each: {comparison.metrics[0]}."
    return f'<p class="note">{_text(note)}</p><div class="strips">{"".join(strips)}</div>'


def _unit(run: RunRecord) -> str:
    return f"seed {plain(run.seed, 20)}"


def _runs(comparison: Comparison) -> dict[str, str]:
    """The table of single runs; tags and notes have a column where there are any."""
    metrics = comparison.metrics
    runs = [(i, group, run) for i, group in enumerate(comparison.rows) for run in group.runs.values()]
    labels = [name for name in ("tags", "notes") if any(getattr(run, name) for _, _, run in runs)]
    numbers = ("seed", *metrics, "time")
    names = ("run", *numbers, "state", *labels)
    heads = '<th aria-label="row"></th>' + "".join(_head(name, name in numbers) for name in names)
    rows = []
    for index, group, run in runs:
        values = [run.metrics.get(metric, math.nan) for metric in (*metrics, "wall_time_s")]
        texts = [*map(number, values[:-1]), "–" if math.isnan(values[-1]) else duration(values[-1])]
        tags = "".join(f'<span class="tag">{_text(tag)}</span>' for tag in run.tags)
        said = {"tags": f"<td>{tags}</td>", "notes": f'<td class="free">{_text(run.notes)}</td>'}
        rows.append(
            f'<tr data-hover="{index}"><td class="c{index % _COLOURS}" title="{_text(group.label)}">'
            f'<span class="key"></span></td><td title="{_text(plain(run.path))}">{_text(plain(run.path.name))}</td>'
            f'<td class="number">{_text(plain(run.seed, 20))}</td>'
            + "".join(
                f'<td class="number" data-value="{_sortable(value)}">{text}</td>'
                for value, text in zip(values, texts, strict=True)
            )
            + f"<td>{_text(run.state)}</td>{''.join(said[name] for name in labels)}</tr>"
        )
    return {"run_heads": heads, "run_rows": "\n".join(rows)}


def _sortable(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def _data(comparison: Comparison, curves: Sequence[str]) -> str:
    """What the script draws, as JSON that cannot end the element it stands in."""
    groups = [
        {
            "label": group.label,
            "runs": [{name: _thinned(run.curves.get(name, [])) for name in curves} for run in group.runs.values()],
        }
        for group in comparison.rows
    ]
    text = json.dumps({"curves": list(curves), "groups": groups}, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _thinned(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    """At most `_POINTS` of a curve, the last one among them."""
    every = -(-len(points) // _POINTS) or 1
    kept = [point for i, point in enumerate(points) if (len(points) - 1 - i) % every == 0]
    return [[step, float(f"{value:.5g}")] for step, value in kept]
