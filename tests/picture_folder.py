"""Small folders of pictures. No test."""

import numpy as np
from PIL import Image


def pixels(seed, height=9, width=11, channels=3):
    """Random pixels [height, width, channels] uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def fill(folder, counts, size=(9, 11)):
    """Write pictures, all different, into subfolders, as many as `counts` says for each; ``.`` is the folder itself."""
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for row in range(count):
            Image.fromarray(pixels(1000 * number + row, *size)).save(folder / name / f"{row:03d}.png")
    return folder
