"""The picture of a comparison: a measure of quality over network evaluations, or over another one."""

from __future__ import annotations

import io
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusion_lab.catalogue.comparison.groups import Group
from diffusion_lab.errors import LabError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from diffusion_lab.catalogue.comparison.comparison import Comparison

#: The names of measures in words, where they are not those of the metrics.
_NAMES = {
    "fid": "FID",
    "kid": "KID",
    "ngram_nll_per_token": "n-gram NLL (nats per token)",
    "ngram_nll_per_character": "n-gram NLL (nats per character)",
    "ngram_perplexity": "n-gram perplexity",
    "generative_nll_per_character": "language model's NLL (nats per character)",
    "entropy": "entropy of the tokens of a sequence (nats)",
    "entropy_of_set": "entropy of the tokens of all sequences (nats)",
}


@dataclass(frozen=True)
class _Measured:
    """A metric of a row: its mean and spread over sampling seeds, and the same of its floor."""

    evaluations: float
    mean: float
    spread: float | None
    floor: float
    floor_spread: float | None
    num_samples: int


def quality_picture(comparison: Comparison) -> bytes:
    """Return the PNG of a comparison: of one metric over network evaluations, or of the first of two over the second.

    Rows that differ only in the number of steps are a line; all rows must be of as many samples.

    Raises:
        LabError: if a metric is none of an evaluation that says how often the network was evaluated.
    """
    metrics = comparison.metrics
    if len(metrics) > 2:
        raise LabError(f"out=….png shows one metric, or the first of two over the second, and not {len(metrics)}")
    lines: dict[str, list[list[_Measured]]] = {}
    for group in comparison.rows:
        found = [one for metric in metrics if (one := _measured(group, metric)) is not None]
        if len(found) == len(metrics):
            lines.setdefault(_line(group.column_values), []).append(found)
    if not lines:
        raise LabError(
            "out=….png shows a measure with a floor over network evaluations, such as metric=quality.fid, or over "
            f"another such measure; {' or '.join(metrics)} is none, or no run has been evaluated (scripts/evaluate.py)"
        )
    counts = {point[0].num_samples for points in lines.values() for point in points}
    if len(counts) > 1:
        shown = ", ".join(map(str, sorted(counts)))
        raise LabError(
            f"out=….png: {metrics[0]} depends on the number of samples, and the rows have different ones: {shown}"
        )
    names = [_name(metric) for metric in metrics]
    figure = (_over_evaluations if len(metrics) == 1 else _frontier)(lines, names, counts.pop())
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format="png")
    return picture.getvalue()


def _over_evaluations(lines: Mapping[str, list[list[_Measured]]], names: list[str], num_samples: int) -> Figure:
    from diffusion_lab.figures.quality_figures import QualityPoint, quality_over_evaluations

    points = {
        line: [QualityPoint(one.evaluations, one.mean, one.spread) for (one,) in found] for line, found in lines.items()
    }
    floors = [one.floor for found in lines.values() for (one,) in found]
    return quality_over_evaluations(points, statistics.fmean(floors), names[0], num_samples)


def _frontier(lines: Mapping[str, list[list[_Measured]]], names: list[str], num_samples: int) -> Figure:
    from diffusion_lab.figures.quality_figures import FrontierPoint, quality_frontier

    points = {
        line: [FrontierPoint(y.evaluations, x.mean, y.mean, x.spread, y.spread) for y, x in found]
        for line, found in lines.items()
    }
    real = [FrontierPoint(0, x.floor, y.floor, x.floor_spread, y.floor_spread) for f in lines.values() for y, x in f]
    return quality_frontier(points, real[0], names[1], names[0], num_samples)


def _measured(group: Group, metric: str) -> _Measured | None:
    """Return a metric of a row; None if it has no floor, or it is not known how often the network was evaluated."""
    evaluation = metric.rpartition(".")[0]
    keys = (f"{evaluation}.evaluations", metric, f"{metric}_floor")
    evaluations, mean, floor = (_mean(group, key) for key in keys)
    if evaluations is None or mean is None or floor is None:
        return None
    spread, floor_spread = (_mean(group, f"{key}_spread") for key in keys[1:])
    return _Measured(
        evaluations, mean, spread, floor, floor_spread, int(_mean(group, f"{evaluation}.num_samples") or 0)
    )


def _name(metric: str) -> str:
    measure = metric.rpartition(".")[2]
    return _NAMES.get(measure, measure.replace("_", " "))


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
