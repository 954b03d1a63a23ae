"""Figures of a hyperparameter search: history, slices, importances and Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diffusion_lab.figures.log_axes import plain_log_ticks, set_log_scale_if_wide

#: The most letters of choices that stand side by side below a panel; more are turned.
_MOST_LETTERS = 28
_FINISHED, _BEST, _BEATEN = "tab:blue", "tab:red", "0.6"


@dataclass(frozen=True)
class Slice:
    """The values of one key in the finished trials, for a panel of `search_slices`.

    Attributes:
        key: the key's name.
        values: [trials], numbers or texts.
        log: whether the axis is logarithmic.
        bounds: the smallest and the largest number of the search space, for a logarithmic axis; None for no limits.
        choices: all choices in their order, if the key's values are choices; None for numbers.
    """

    key: str
    values: Sequence[Any]
    log: bool = False
    bounds: tuple[float, float] | None = None
    choices: Sequence[Any] | None = None


def search_history(
    finished: Mapping[int, float],
    pruned: Mapping[int, float],
    failed: Sequence[int],
    label: str,
    minimize: bool,
) -> Figure:
    """Draw the value of each trial over its number, and the best value so far.

    Args:
        finished: the value of each finished trial, by its number; at least one.
        pruned: the last reported value of each pruned trial, by its number.
        failed: the numbers of the failed trials.
        label: the name of the value.
        minimize: whether small values are better.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    numbers = sorted(finished)
    values = [finished[number] for number in numbers]
    best = (np.minimum if minimize else np.maximum).accumulate(values)
    last = max([*finished, *pruned, *failed])
    axes.step([*numbers, last], [*best, best[-1]], where="post", color=_BEST, lw=1.8, label="best so far", zorder=2)
    axes.scatter(numbers, values, s=34, color=_FINISHED, label=f"finished ({len(numbers)})", zorder=3)
    if pruned:
        style: dict[str, Any] = {"s": 34, "marker": "v", "facecolors": "none", "edgecolors": "0.45"}
        axes.scatter(list(pruned), list(pruned.values()), label=f"pruned, its last value ({len(pruned)})", **style)
    if failed:
        lower_edge = axes.get_xaxis_transform()  # y is then a fraction of the height
        text = f"failed ({len(failed)})"
        axes.plot(failed, [0.03] * len(failed), "x", color="black", ms=6, transform=lower_edge, label=text)
    set_log_scale_if_wide(axes, "y", [*values, *pruned.values()])
    axes.set(title=f"{label} of each trial", xlabel="trial", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def search_importances(importances: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw how much of the variance of each objective each key explains.

    Args:
        importances: the share of each key by objective, then by key; the shares of an objective add up to 1.
    """
    keys = sorted({key for shares in importances.values() for key in shares}, key=lambda key: _total(importances, key))
    figure = Figure(figsize=(8, 1.4 + 0.45 * len(keys) * max(1, 0.7 * len(importances))), layout="constrained")
    axes = figure.subplots()
    thickness = 0.75 / len(importances)
    for index, (label, shares) in enumerate(importances.items()):
        heights = np.arange(len(keys)) + (len(importances) - 1 - 2 * index) / 2 * thickness
        widths = [shares.get(key, 0.0) for key in keys]
        bars = axes.barh(heights, widths, thickness * 0.92, color=f"C{index}", label=label)
        axes.bar_label(bars, [f"{width:.0%}" for width in widths], padding=4, fontsize=9, color="0.25")
    axes.set_yticks(np.arange(len(keys)), keys)
    axes.set(
        title="Importance of each key", xlabel="share of the variance of the finished trials (fANOVA)", xlim=(0, 1.1)
    )
    axes.set_xticks(np.linspace(0, 1, 6), [f"{x:.0%}" for x in np.linspace(0, 1, 6)])
    axes.grid(alpha=0.3, axis="x")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(importances) > 1:
        axes.legend(loc="lower right", frameon=False)
    return figure


def search_slices(slices: Sequence[Slice], values: Sequence[float], label: str, minimize: bool) -> Figure:
    """Draw the objective over the values of each key, one panel for each key.

    Points are light for early trials and dark for late ones, and the best trial is ringed.

    Args:
        slices: one for each key, all of the same trials.
        values: [trials], the objective.
        label: the name of the objective.
        minimize: whether small values are better.
    """
    rows = -(-len(slices) // 4)
    columns = -(-len(slices) // rows)
    figure = Figure(figsize=(3.1 * columns + 1.0, 2.9 * rows + 0.5), layout="constrained")
    figure.suptitle(f"{label} over each key")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    best = int(np.argmin(values) if minimize else np.argmax(values))
    order = np.arange(len(values))
    points = None
    for axes, key_slice in zip(panels, slices, strict=False):
        x = _x_positions(axes, key_slice)
        points = axes.scatter(x, values, c=order, cmap="viridis_r", s=26, linewidths=0, alpha=0.9, zorder=3)
        axes.scatter(x[best], values[best], s=110, facecolors="none", edgecolors=_BEST, linewidths=1.8, zorder=4)
        axes.set_xlabel(key_slice.key)
        axes.grid(alpha=0.3)
    for axes in panels[len(slices) :]:
        axes.axis("off")
    set_log_scale_if_wide(panels[0], "y", values)
    for row in range(rows):
        panels[row * columns].set_ylabel(label)
    if points is not None:
        bar = figure.colorbar(points, ax=list(panels), aspect=30, pad=0.01)
        bar.set_label("order of the trials")
        bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return figure


def search_pareto(points: Mapping[int, Sequence[float]], front: Sequence[int], labels: Sequence[str]) -> Figure:
    """Draw each pair of objectives against each other, with the Pareto front highlighted.

    Args:
        points: the values of each finished trial by its number, one value for each objective.
        front: the numbers of the trials on the Pareto front: no other trial is better in all objectives.
        labels: the names of the objectives.
    """
    pairs = [(i, j) for j in range(len(labels)) for i in range(j + 1, len(labels))]
    figure = Figure(figsize=(6.5 * len(pairs), 4.5), layout="constrained")
    for axes, (i, j) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        others = [number for number in points if number not in front]
        x, y = ([points[number][k] for number in others] for k in (i, j))
        axes.scatter(x, y, s=30, color=_BEATEN, label=f"beaten by another ({len(others)})", zorder=2)
        chosen = sorted(front, key=lambda number: points[number][i])
        x, y = ([points[number][k] for number in chosen] for k in (i, j))
        line = "-" if len(labels) == 2 else ""
        axes.plot(x, y, line, color=_BEST, lw=1, alpha=0.5, zorder=2)
        axes.scatter(x, y, s=48, color=_BEST, label=f"Pareto front ({len(front)})", zorder=3)
        for number in chosen:
            offset: Any = {"xytext": (5, 5), "textcoords": "offset points"}
            axes.annotate(str(number), (points[number][i], points[number][j]), fontsize=8, color="0.3", **offset)
        for axis, k in (("x", i), ("y", j)):
            set_log_scale_if_wide(axes, axis, [values[k] for values in points.values()])
        axes.set(xlabel=labels[i], ylabel=labels[j])
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle("Pareto front: no other trial is better in all objectives")
    return figure


def _x_positions(axes: Axes, key_slice: Slice) -> np.ndarray:
    """Set up the x axis for the slice, and return the positions of its values.

    Choices lie side by side, and the points of a choice are spread a little so that they do not cover each other.
    """
    if key_slice.choices is None:
        if key_slice.log:
            axes.set_xscale("log")
            plain_log_ticks(axes.xaxis)
            if key_slice.bounds is not None:
                axes.set_xlim(key_slice.bounds[0] / 1.1, key_slice.bounds[1] * 1.1)
        elif len(set(key_slice.values)) <= 6:
            axes.set_xticks(sorted(set(key_slice.values)))
        return np.asarray(key_slice.values, dtype=float)
    choices = list(key_slice.choices)
    names = [str(choice) for choice in choices]
    axes.set_xticks(range(len(choices)), names)
    if sum(map(len, names)) > _MOST_LETTERS:
        axes.tick_params(axis="x", labelrotation=25)
    axes.set_xlim(-0.6, len(choices) - 0.4)
    spread = np.random.default_rng(0).uniform(-0.18, 0.18, len(key_slice.values))
    return np.asarray([choices.index(value) for value in key_slice.values]) + spread


def _total(importances: Mapping[str, Mapping[str, float]], key: str) -> float:
    return sum(shares.get(key, 0.0) for shares in importances.values())
