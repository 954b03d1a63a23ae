"""Figures made of images. Images are [N, C, H, W] in [−1, 1], with one or three channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


def to_uint8(images: Tensor) -> Tensor:
    """[N, H, W, C] uint8 for [N, C, H, W] in [−1, 1]; what lies outside is clipped."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)


def _sheet(axes: Axes, rows: Sequence[Tensor], columns: Sequence[str] = (), names: Sequence[str] = ()) -> None:
    """Rows of images [n, C, H, W] as one picture, with labels above the columns and beside the rows.

    An axes of its own for each image would take a hundred times as long to draw.
    """
    _, channels, height, width = rows[0].shape
    gap = max(1, round(0.06 * height))
    count = max(map(len, rows))
    pixels = torch.full(
        (len(rows) * (height + gap) - gap, count * (width + gap) - gap, channels), 255, dtype=torch.uint8
    )
    for row, images in enumerate(rows):
        for column, image in enumerate(to_uint8(images.cpu())):
            top, left = row * (height + gap), column * (width + gap)
            pixels[top : top + height, left : left + width] = image
    axes.imshow(pixels.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([k * (width + gap) + (width - 1) / 2 for k in range(len(columns))], columns, fontsize=9)
    axes.set_yticks([k * (height + gap) + (height - 1) / 2 for k in range(len(names))], names)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)


def image_grid(images: Tensor, title: str, columns: int = 8) -> Figure:
    """A grid, row by row."""
    rows = images.split(min(columns, len(images)))
    figure = Figure(figsize=(0.75 * len(rows[0]) + 0.3, 0.75 * len(rows) + 0.6), layout="constrained")
    figure.suptitle(title)
    _sheet(figure.subplots(), rows)
    return figure


def strip(states: Sequence[Tensor], labels: Sequence[str], title: str) -> Figure:
    """One column for each state [N, C, H, W], with its label, and one row for each of the N images.

    Raises:
        ValueError: if there are not as many labels as states.
    """
    if len(labels) != len(states):
        raise ValueError(f"{len(states)} states need as many labels, got {len(labels)}")
    figure = Figure(figsize=(1.0 * len(states) + 0.2, 1.0 * len(states[0]) + 0.8), layout="constrained")
    figure.suptitle(title)
    _sheet(figure.subplots(), [torch.stack(row) for row in zip(*states, strict=True)], labels)
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
    figure = Figure(figsize=(0.9 * len(real) + 0.9, 2.5), layout="constrained")
    figure.suptitle("Real images above generated ones")
    _sheet(figure.subplots(), [real, generated], names=["real", "generated"])
    return figure
