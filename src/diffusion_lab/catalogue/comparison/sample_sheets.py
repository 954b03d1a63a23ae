"""A run's samples as one small picture. The array file is untrusted: it is data, and as large as it likes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

SIDE = 320  # of the picture at most, in pixels
_COLUMNS = 6


def sample_sheet(path: Path) -> bytes | None:
    """A PNG of the first samples in ``samples/final.npy``, row by row; None where there are none that can be shown.

    The file holds [N, C, H, W] in [−1, 1] with one or three channels; only what is shown of it is read.
    """
    try:
        samples = np.lib.format.open_memmap(path, mode="r")  # refuses what only a pickle can hold
        if samples.ndim != 4 or samples.dtype.kind != "f":
            return None
        number, channels, height, width = samples.shape
        if min(samples.shape) < 1 or channels not in (1, 3) or max(height, width) > 16 * SIDE:
            return None
        columns = min(max(SIDE // max(height, width), 1), _COLUMNS, int(np.ceil(np.sqrt(number))))
        images = np.asarray(samples[: columns**2], dtype=np.float32)
    except (OSError, ValueError, OverflowError):
        return None
    pixels = np.rint((np.clip(np.nan_to_num(images), -1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    # The last channel is opacity: between the images the page shows through.
    gap = max(1, round(max(height, width) / 14))
    rows = -(-len(pixels) // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels + 1), dtype=np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width, :channels] = image
        sheet[top : top + height, left : left + width, channels] = 255

    from PIL import Image

    picture = Image.fromarray(sheet)
    larger = SIDE // max(picture.size)
    if larger > 1:
        picture = picture.resize((larger * picture.width, larger * picture.height), Image.Resampling.NEAREST)
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
