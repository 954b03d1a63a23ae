"""Figures made of curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor


def schedule_curves(betas: Tensor, alpha_bar: Tensor, name: str) -> Figure:
    """β_t and ᾱ_t over the step index, for betas [T] and alpha_bar [T + 1] whose first row is clean data."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    figure.suptitle(f"Noise schedule: {name}, T = {len(betas)}")
    left, right = figure.subplots(1, 2)
    left.plot(betas.numpy(), color="tab:red")
    left.set(title="noise added at each step", xlabel="step index t", ylabel=r"$\beta_t$")
    right.plot(alpha_bar[1:].numpy(), color="tab:blue")
    right.set(title="signal that is left", xlabel="step index t", ylabel=r"$\bar\alpha_t$", ylim=(-0.02, 1.02))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure


def schedule_comparison(alpha_bars: Mapping[str, Tensor]) -> Figure:
    """ᾱ_t of several schedules, each [T + 1], over the step index."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, alpha_bar in alpha_bars.items():
        axes.plot(alpha_bar[1:].numpy(), label=name)
    axes.set(title="Signal that is left, by schedule", xlabel="step index t", ylabel=r"$\bar\alpha_t$")
    axes.grid(alpha=0.3)
    axes.legend(title="schedule")
    return figure


def loss_curve(epochs: Sequence[Mapping[str, float]]) -> Figure:
    """Training and validation loss, from rows with ``epoch``, ``train/loss`` and ``val/loss``."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for key, label in (("train/loss", "training"), ("val/loss", "validation, fixed noise")):
        rows = [row for row in epochs if key in row]
        axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], marker=".", label=label)
    axes.set(title="Loss per epoch", xlabel="epoch", ylabel="mean squared error of the noise", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
