"""Figures made of curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from diffusion_lab.figures.log_axes import set_log_scale_if_wide


def curves_figure(curves: Sequence[Any], title: str) -> Figure:
    """Draw curves side by side; each has `title`, `x_label`, `y_label`, and `x` and `y`, tensors [n]."""
    figure = Figure(figsize=(4.5 * len(curves), 3.5), layout="constrained")
    figure.suptitle(title)
    for k, (axes, curve) in enumerate(zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True)):
        axes.plot(curve.x.numpy(), curve.y.numpy(), color=("tab:red", "tab:blue")[k % 2])
        axes.set(title=curve.title, xlabel=curve.x_label, ylabel=curve.y_label)
        axes.grid(alpha=0.3)
    return figure


def signal_comparison(signals: Mapping[str, Tensor], times: Tensor, label: str) -> Figure:
    """Draw how much of the data is left over time, [n] from 0 to 1, for several schedules by name; `times` [n]."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, signal in signals.items():
        axes.plot(times.numpy(), signal.numpy(), label=name)
    axes.set(title="Signal that is left, by schedule", xlabel="time t", ylabel=label)
    axes.grid(alpha=0.3)
    axes.legend(title="schedule")
    return figure


def loss_curve(epochs: Sequence[Mapping[str, float]], unit: str) -> Figure:
    """Draw training and validation loss in `unit`, from rows with ``epoch``, ``train/loss`` and ``val/loss``."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for key, label in (("train/loss", "training"), ("val/loss", "validation, fixed noise")):
        rows = [row for row in epochs if key in row]
        axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], marker=".", label=label)
    axes.set(title="Loss per epoch", xlabel="epoch", ylabel=unit)
    set_log_scale_if_wide(axes, "y", [value for row in epochs for key, value in row.items() if key.endswith("/loss")])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
