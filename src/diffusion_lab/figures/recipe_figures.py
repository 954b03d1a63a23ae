"""Pictures of the samples of recipes: a row for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import image
from matplotlib.figure import Figure


def save_row(samples: np.ndarray, path: Path) -> Path:
    """Save images in a row as a PNG of their own size, and return its path.

    Args:
        samples: [C, H, W] in [−1, 1], with one channel or three.
    """
    pixels = ((np.clip(samples, -1.0, 1.0) + 1.0) * 127.5).round().astype(np.uint8)
    pixels = np.repeat(pixels, 3, axis=0) if len(pixels) == 1 else pixels
    image.imsave(path, np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return path


def rows_figure(rows: Mapping[str, Path]) -> Figure:
    """Draw the pictures that `save_row` saved below each other, each with its name.

    Args:
        rows: the file of each row, by its name; at least one.
    """
    figure = Figure(figsize=(10, 0.1 + 0.46 * len(rows)), layout="constrained")
    for (name, file), axes in zip(rows.items(), figure.subplots(len(rows), squeeze=False)[:, 0], strict=True):
        axes.imshow(image.imread(file), interpolation="nearest")
        axes.set_ylabel(name, rotation=0, ha="right", va="center", family="monospace")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure
