"""Figures of the quality of samples: distances from training items, and quality over network evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter
from torch import Tensor

from diffusion_lab.figures.log_axes import set_log_scale_if_wide

#: Okabe and Ito's colours, which people with any kind of colour vision tell apart, without yellow, which is too light.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Smaller distances are drawn at this one.
_LOWEST_DISTANCE = 1e-4
_MARKERS = "osD^vPX*"  # one more than colours, so that points that stand alone differ in a second round, too


@dataclass(frozen=True)
class QualityPoint:
    """The quality of a sampler's samples at one number of steps.

    Attributes:
        evaluations: network evaluations per sample.
        mean: of the measure, over seeds.
        spread: standard deviation over seeds; None for one seed.
    """

    evaluations: float
    mean: float
    spread: float | None = None


def quality_over_evaluations(
    samplers: Mapping[str, Sequence[QualityPoint]], floor: float, label: str, num_samples: int
) -> Figure:
    """Draw a measure over network evaluations, a line for each sampler, and the floor as a dashed line.

    Args:
        samplers: the points of each sampler, by its name, in any order; at least one.
        floor: the measure of as many real items.
        label: the name of the measure.
        num_samples: how many samples each point is of.
    """
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, points) in enumerate(samplers.items()):
        ordered = sorted(points, key=lambda point: point.evaluations)
        axes.errorbar(
            [point.evaluations for point in ordered],
            [point.mean for point in ordered],
            [point.spread or 0.0 for point in ordered],
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            linestyle="-:"[number // len(_COLOURS) % 2],
            markersize=5,
            capsize=3,
            label=name,
        )
    dashed = axes.axhline(floor, color="0.3", linestyle="--", label=f"{num_samples:,} real items")
    shown = [point for points in samplers.values() for point in points]
    set_log_scale_if_wide(axes, "x", [point.evaluations for point in shown])
    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    set_log_scale_if_wide(axes, "y", [floor, *(point.mean for point in shown)])
    spread = " (bars: standard deviation over seeds)" if any(point.spread for point in shown) else ""
    axes.set(
        title=f"{label} of {num_samples:,} samples over network evaluations",
        xlabel="network evaluations per sample",
        ylabel=f"{label}{spread}",
    )
    axes.grid(alpha=0.3)
    figure.legend(handles=[*axes.containers, dashed], frameon=False, loc="outside right upper")  # the floor last
    return figure


@dataclass(frozen=True)
class FrontierPoint:
    """Two measures of the same samples.

    Attributes:
        evaluations: network evaluations per sample.
        x, y: means over seeds.
        x_spread, y_spread: standard deviations over seeds; None for one seed.
    """

    evaluations: float
    x: float
    y: float
    x_spread: float | None = None
    y_spread: float | None = None


def quality_frontier(
    samplers: Mapping[str, Sequence[FrontierPoint]], real: FrontierPoint, x_label: str, y_label: str, num_samples: int
) -> Figure:
    """Draw one measure over another, a line for each sampler, and real items as a star.

    Args:
        samplers: the points of each sampler, by its name, in any order; at least one. A line goes from the fewest to
            the most network evaluations, which stand beside the points.
        real: the measures of as many real items.
        x_label, y_label: the names of the measures.
        num_samples: how many samples each point is of.
    """
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, points) in enumerate(samplers.items()):
        ordered = sorted(points, key=lambda point: point.evaluations)
        colour = _COLOURS[number % len(_COLOURS)]
        axes.errorbar(
            [point.x for point in ordered],
            [point.y for point in ordered],
            [point.y_spread or 0.0 for point in ordered],
            [point.x_spread or 0.0 for point in ordered],
            color=colour,
            marker=_MARKERS[number % len(_MARKERS)],
            linestyle="-:"[number // len(_COLOURS) % 2],
            markersize=5,
            capsize=2,
            elinewidth=0.8,
            label=name,
        )
        for place, point in enumerate(ordered):
            axes.annotate(
                f"{point.evaluations:.4g}",
                (point.x, point.y),
                xytext=(5, -11 if 0 < place == len(ordered) - 1 else 5),  # the last one below, away from the line
                textcoords="offset points",
                fontsize=8,
                color=colour,
                path_effects=[withStroke(linewidth=1, foreground="white")],
                zorder=5,
            )
    axes.errorbar(
        real.x,
        real.y,
        real.y_spread or 0.0,
        real.x_spread or 0.0,
        color="0.2",
        marker="*",
        markersize=13,
        linestyle="none",
        capsize=2,
        elinewidth=0.8,
        label=f"{num_samples:,} real items",
    )
    shown = [real, *(point for points in samplers.values() for point in points)]
    spread = "; bars: standard deviation over seeds" if any(point.y_spread for point in shown) else ""
    axes.set(
        title=f"{num_samples:,} samples; numbers: network evaluations for each{spread}",
        xlabel=x_label,
        ylabel=y_label,
    )
    axes.title.set_fontsize("medium")
    axes.margins(0.08)
    axes.grid(alpha=0.3)
    figure.legend(handles=axes.containers, frameon=False, loc="outside right upper")
    return figure


@dataclass(frozen=True)
class SamplerDistances:
    """Distances of a sampler's samples from the data, by number of steps.

    Attributes:
        name: of the sampler.
        panel: the title of the panel it is drawn in.
        exact: without an error of sampling.
        drawn: of a number of samples.
        colour: samplers of equal number have the same colour.
    """

    name: str
    panel: str
    exact: Mapping[int, float]
    drawn: Mapping[int, float]
    colour: int


def distances_over_steps(samplers: Sequence[SamplerDistances], error: tuple[float, float], num_samples: int) -> Figure:
    """Draw total variations over steps: exact ones as lines, those of samples as marks, and their error as a band.

    Args:
        samplers: of one panel or more. Distances below 1e-4 are drawn there, with their size beside them.
        error: the total variation of as many draws from the data itself, from and to.
        num_samples: how many samples each mark is of.
    """
    panels = list(dict.fromkeys(found.panel for found in samplers))
    figure = Figure(figsize=(5 * len(panels), 5), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        for found in samplers:
            if found.panel == panel:
                _draw_distances(axes, found)
        axes.axhspan(*error, color="0.8", zorder=0, label=f"{num_samples:,} draws from the data itself, 5 to 95 %")
        axes.set(title=panel, xlabel="steps", xscale="log", yscale="log", ylim=(_LOWEST_DISTANCE * 0.8, 1))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 0.06), fontsize=8)
    all_axes[0].set_ylabel("total variation from the data (0: the same, 1: apart)")
    all_axes[0].set_xticks(sorted({n for found in samplers for n in found.exact}))
    all_axes[0].xaxis.set_major_formatter("{x:g}")
    figure.suptitle(f"Samplers with an exact denoiser (lines: exact; marks: {num_samples:,} samples)")
    return figure


def _draw_distances(axes: Axes, found: SamplerDistances) -> None:
    colour, marker = (shown[found.colour % len(shown)] for shown in (_COLOURS, _MARKERS))
    kind: dict[str, Any] = {"color": colour, "markersize": 5}
    axes.plot([], [], marker=marker, linestyle="-", label=found.name, **kind)
    values = [max(value, _LOWEST_DISTANCE) for value in found.exact.values()]
    alone: dict[str, Any] = {"marker": "_", "markersize": 22, "markeredgewidth": 2} if len(values) == 1 else {}
    axes.plot(list(found.exact), values, color=colour, **alone)
    axes.plot(list(found.drawn), [max(v, _LOWEST_DISTANCE) for v in found.drawn.values()], marker, **kind)
    for steps, value in found.exact.items():
        if value < _LOWEST_DISTANCE:
            size = f"below 1e{math.ceil(math.log10(max(value, 1e-16)))}"
            axes.annotate(
                size, (steps, _LOWEST_DISTANCE), (14, 4), textcoords="offset points", color=colour, fontsize=8
            )


def nearest_distance_histogram(samples: Tensor, held_out: Tensor, threshold: float, item: str) -> Figure:
    """Draw how far samples and held-out real items are from their nearest training items.

    Args:
        samples: [N], distances in feature space.
        held_out: [M], of real items that are not in the training set.
        threshold: the distance that 1 % of the held-out items stay below; it is marked.
        item: the word for one item.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    largest = float(np.quantile(np.concatenate([samples.numpy(), held_out.numpy()]), 0.995)) or 1.0
    edges = np.linspace(0, largest, 41)
    for distances, name, colour in ((held_out, "held-out", _COLOURS[0]), (samples, "generated", _COLOURS[1])):
        clipped = distances.clamp(max=largest).numpy()
        shares = np.histogram(clipped, edges)[0] / len(distances)
        axes.stairs(shares, edges, color=colour, fill=True, alpha=0.25)
        axes.stairs(shares, edges, color=colour, lw=1.8, label=f"{name} ({len(distances):,})")
    axes.axvline(threshold, color="0.3", linestyle="--", label=f"1 % of held-out {item}s are nearer")
    axes.set(
        title=f"Distance from the nearest training {item}",
        xlabel="distance in feature space (the last bin: this or more)",
        ylabel=f"share of {item}s per bin",
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
