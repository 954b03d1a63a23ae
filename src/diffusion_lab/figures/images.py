"""Figures made of images. Images are [N, C, H, W] in [−1, 1], with one or three channels."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


def to_uint8(images: Tensor) -> Tensor:
    """[N, H, W, C] uint8 for [N, C, H, W] in [−1, 1]; what lies outside is clipped."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)


def _show(axes: Axes, image: Tensor) -> None:
    axes.imshow(to_uint8(image[None])[0].squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def image_grid(images: Tensor, title: str, columns: int = 8) -> Figure:
    """A grid, row by row."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(0.75 * columns + 0.3, 0.75 * rows + 0.6), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for cell in axes:
        cell.axis("off")
    for cell, image in zip(axes, images, strict=False):
        cell.axis("on")
        _show(cell, image)
    return figure


def strip(states: Sequence[Tensor], labels: Sequence[str], title: str) -> Figure:
    """One column for each state [N, C, H, W], one row for each of the N images."""
    rows, columns = len(states[0]), len(states)
    figure = Figure(figsize=(1.0 * columns + 0.2, 1.0 * rows + 0.8), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False)
    for column, (state, label) in enumerate(zip(states, labels, strict=True)):
        axes[0, column].set_title(label, fontsize=9)
        for row in range(rows):
            _show(axes[row, column], state[row])
    return figure


def forward_strip(states: Sequence[Tensor], indices: Sequence[int]) -> Figure:
    """A few images, each noised to the step indices given."""
    labels = [f"t = {index}" for index in indices]
    return strip(states, labels, "Forward process: real images, ever more noise")


def denoising_strip(states: Sequence[Tensor], times: Sequence[float], steps: int | None = None) -> Figure:
    """At most four images on their way from noise, in about ten evenly chosen states, the first and last included.

    Args:
        states: [N, C, H, W] each.
        times: of each state, from 1, noise, to 0.
        steps: label the states with the step index of a process of so many steps; with the time where None.
    """
    every = max(1, (len(states) - 1) // 10)
    chosen = list(range(0, len(states), every))
    if chosen[-1] != len(states) - 1:
        chosen.append(len(states) - 1)
    # After the step with index i the state stands at time i/T.
    labels = [f"t = {times[k]:.2f}" if steps is None else f"t = {round(times[k] * steps)}" for k in chosen]
    labels[0] = "start"
    return strip([states[k][:4] for k in chosen], labels, "Denoising: from noise to samples")


def real_and_generated(real: Tensor, generated: Tensor) -> Figure:
    """A row of real images above a row of generated ones, of equal number."""
    columns = len(real)
    figure = Figure(figsize=(0.9 * columns + 0.9, 2.5), layout="constrained")
    figure.suptitle("Real images above generated ones")
    axes = figure.subplots(2, columns, squeeze=False)
    for row, (name, images) in enumerate((("real", real), ("generated", generated))):
        for column in range(columns):
            _show(axes[row, column], images[column])
        axes[row, 0].set_ylabel(name)
    return figure
