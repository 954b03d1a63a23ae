"""A run's samples, as one small picture or as text. The files are untrusted: their type, shape and size may be any."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from diffusion_lab.errors import LabError
from diffusion_lab.machine.bounded_read import open_bounded, read_bounded

MAX_SIDE = 320  # pixels
_MAX_COLUMNS = 6


def sample_sheet(path: Path) -> bytes | None:
    """Return a PNG of the first samples in an array file, row by row; None if it holds no images.

    Args:
        path: of ``samples/final.npy``, a floating-point array [N, C, H, W] in [−1, 1] with one or three channels. Only
            the samples that are shown are read.
    """
    samples = stored_images(path)
    if samples is None:
        return None
    number, channels, height, width = samples.shape
    columns = min(max(MAX_SIDE // max(height, width), 1), _MAX_COLUMNS, int(np.ceil(np.sqrt(number))))
    pixels = as_pixels(samples[: columns**2])
    # The last channel is opacity: the gaps between the images are transparent.
    gap = max(1, round(max(height, width) / 14))
    rows = -(-len(pixels) // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels + 1), dtype=np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width, :channels] = image
        sheet[top : top + height, left : left + width, channels] = 255

    from PIL import Image

    picture = Image.fromarray(sheet)
    scale = MAX_SIDE // max(picture.size)
    if scale > 1:
        picture = picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.NEAREST)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def stored_images(path: Path) -> np.ndarray | None:
    """Return the images [N, C, H, W] of an array file, which are read when they are used; None if it holds none."""
    try:
        with open_bounded(path):
            samples = np.lib.format.open_memmap(path, mode="r")  # refuses pickled objects
    except (LabError, OSError, ValueError, OverflowError):
        return None
    if samples.ndim != 4 or samples.dtype.kind != "f" or min(samples.shape) < 1:
        return None
    _, channels, height, width = samples.shape
    return samples if channels in (1, 3) and max(height, width) <= 16 * MAX_SIDE else None


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Return images [N, C, H, W] in [−1, 1] as [N, H, W, C] uint8."""
    finite = np.nan_to_num(np.asarray(images, dtype=np.float32))
    pixels: np.ndarray = np.rint((finite.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels


def sample_text(path: Path, most: int) -> str | None:
    """Return the start of the first sample in ``samples/final.txt``, of at most so many characters; None for none.

    Characters that cannot be printed are left out, but for line ends.
    """
    try:
        content = read_bounded(path).decode(errors="replace")
    except (LabError, OSError):
        return None
    _, _, text = content.partition("\n")  # the first line is its number
    text, _, _ = text.partition("\n\n[1]\n")
    return "".join(sign for sign in text[:most] if sign == "\n" or sign.isprintable()).rstrip()
