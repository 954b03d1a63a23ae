"""Draw a sheet of images as one grid. Images are [N, C, H, W] in [−1, 1], with one or three channels."""

from __future__ import annotations

import itertools
import textwrap

import torch
from matplotlib.figure import Figure
from torch import Tensor

from diffusion_lab.figures.sheet_layouts import Sheet


def to_uint8(images: Tensor) -> Tensor:
    """Return [N, H, W, C] uint8 for [N, C, H, W] in [−1, 1]; values outside are clipped."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)


def draw_image_grid(sheet: Sheet) -> Figure:
    """Draw all images of a sheet as one picture; an axes of its own for each would take a hundred times as long."""
    columns, rows = max(map(len, sheet.rows)), len(sheet.rows)
    width = sheet.size * columns + (0.9 if sheet.names else 0.3)
    title = "\n".join(_wrapped(line, width) for line in sheet.title.splitlines())
    above = (_labels_height(sheet) if sheet.columns else 0.6) + 0.2 * (title.count("\n") - sheet.title.count("\n"))
    figure = Figure(figsize=(width, sheet.size * rows + above), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots()
    _, channels, image_height, image_width = sheet.rows[0].shape
    gap = max(1, round(0.06 * image_height))
    height, width = image_height + gap, image_width + gap  # of a cell
    # Where columns stand in groups, there is a wider gap between two of these.
    lefts = [column * width + 3 * gap * (column // sheet.group if sheet.group else 0) for column in range(columns)]
    pixels = torch.full((rows * height - gap, lefts[-1] + image_width, channels), 255, dtype=torch.uint8)
    for row, images in enumerate(sheet.rows):
        for left, image in zip(lefts, to_uint8(images.cpu()), strict=False):
            top = row * height
            pixels[top : top + image_height, left : left + image_width] = image
    axes.imshow(pixels.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
    centres = [left + (image_width - 1) / 2 for left in lefts[: len(sheet.columns)]]
    axes.set_xticks(centres, sheet.columns, fontsize=9)
    if _crowded(sheet):
        axes.tick_params(axis="x", labelrotation=90)
    axes.set_yticks([k * height + (image_height - 1) / 2 for k in range(len(sheet.names))], sheet.names)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def _wrapped(title: str, width: float) -> str:
    """Return a line of a title, cut into lines that fit into so many inches."""
    return "\n".join(textwrap.wrap(title, max(12, int(width / 0.1))))


def _labels_height(sheet: Sheet) -> float:
    """Return the height in inches of the title and of the labels above the columns."""
    lines = [label.splitlines() for label in sheet.columns]
    if _crowded(sheet):
        return 0.6 + 0.1 * max(len(line) for label in lines for line in label)
    return 0.6 + 0.2 * max(map(len, lines))


def _crowded(sheet: Sheet) -> bool:
    """Return whether the labels above the columns are wider than the way from one to the next."""
    places = [k for k, label in enumerate(sheet.columns) if label]
    room = min((after - before for before, after in itertools.pairwise(places)), default=1) * sheet.size
    longest = max((len(line) for label in sheet.columns for line in label.splitlines()), default=0)
    return longest * 0.08 > room  # inches, the width of a character of this size
