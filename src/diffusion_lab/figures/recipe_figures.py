"""Pictures of the samples of recipes: a row for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib import image
from matplotlib.figure import Figure


def rows_figure(rows: Mapping[str, Path]) -> Figure:
    """Draw the pictures of rows of samples below each other, each with its name.

    Args:
        rows: the file of each row, by its name; at least one.
    """
    figure = Figure(figsize=(10, 0.1 + 0.5 * len(rows)), layout="compressed")
    for (name, file), axes in zip(rows.items(), figure.subplots(len(rows), squeeze=False)[:, 0], strict=True):
        axes.imshow(image.imread(file), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_ylabel(name, rotation=0, ha="right", va="center", family="monospace")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure
