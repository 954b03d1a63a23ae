"""The picture of a comparison: a measure of quality over network evaluations, a line for each sampler."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from diffusion_lab.catalogue.comparison.groups import Group
from diffusion_lab.errors import LabError

if TYPE_CHECKING:
    from diffusion_lab.catalogue.comparison.comparison import Comparison


def quality_picture(comparison: Comparison) -> bytes:
    """Return the PNG of the first metric of a comparison.

    Rows that differ only in the number of steps are a line; all rows must be of as many samples.

    Raises:
        LabError: if the metric is none of an evaluation that says how often the network was evaluated.
    """
    from diffusion_lab.figures.quality_figures import QualityPoint, quality_over_evaluations

    metric = comparison.metrics[0]
    evaluation, _, measure = metric.rpartition(".")
    lines: dict[str, list[QualityPoint]] = {}
    floors, counts = [], set()
    for group in comparison.rows:
        evaluations, value, floor = (
            _mean(group, name) for name in (f"{evaluation}.evaluations", metric, f"{metric}_floor")
        )
        if evaluations is None or value is None or floor is None:
            continue
        lines.setdefault(_line(group.column_values), []).append(
            QualityPoint(evaluations, value, _mean(group, f"{metric}_spread"))
        )
        counts.add(int(_mean(group, f"{evaluation}.num_samples") or 0))
        floors.append(floor)
    if not lines:
        raise LabError(
            f"out=….png shows a measure with a floor over network evaluations, such as metric=quality.fid; {metric} "
            "is none, or no run has been evaluated (scripts/evaluate.py)"
        )
    if len(counts) > 1:
        shown = ", ".join(map(str, sorted(counts)))
        raise LabError(
            f"out=….png: {metric} depends on the number of samples, and the rows have different ones: {shown}"
        )
    picture = io.BytesIO()
    label = {"fid": "FID", "kid": "KID"}.get(measure, measure.replace("_", " "))
    figure = quality_over_evaluations(lines, sum(floors) / len(floors), label, counts.pop())
    figure.savefig(picture, dpi=150, format="png")
    return picture.getvalue()


def _mean(group: Group, metric: str) -> float | None:
    summary = group.summary(metric)
    return None if summary is None else summary.mean


def _line(values: Mapping[str, str]) -> str:
    """Return the name of a row's line: its columns but the number of steps."""
    parts = [
        value if "." not in column else f"{column.rpartition('.')[2]} {value}"
        for column, value in values.items()
        if not column.endswith("num_steps") and value != "–"
    ]
    return ", ".join(parts) or "samples"
