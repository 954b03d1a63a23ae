"""Pictures that a person names, as files of unknown origin: nothing is decoded before its size is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion_lab.data.picture_files import flattened
from diffusion_lab.errors import LabError

#: A file of more bytes is not opened.
_LARGEST = 64 * 2**20


def read_picture(path: Path, shape: tuple[int, ...], key: str) -> Tensor:
    """Return the picture in a PNG or JPEG file, [C, H, W] uint8, as pictures to train on are read: see `flattened`.

    Args:
        path: of the file.
        shape: [C, H, W] that it must have; C is 1 or 3.
        key: of the config, for messages.

    Raises:
        LabError: naming the key and the file, if it is missing, damaged, or of another size.
    """
    channels, height, width = shape
    check_file(path, key)
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as opened:
            _check_size(opened, (width, height), key, path)
            picture = flattened(opened, channels)
            _check_size(picture, (width, height), key, path)  # it may have been turned
            pixels = np.array(picture)
    except LabError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise many kinds
        text = " ".join(str(error).split())[:150]
        raise LabError(f"{key}={path}: it cannot be read as a PNG or JPEG picture ({text})") from error
    return torch.from_numpy(pixels).reshape(height, width, channels).permute(2, 0, 1)


def read_array(path: Path, shape: tuple[int, ...], key: str) -> Tensor:
    """Return the numbers in a NumPy file, of the shape given; a first axis of length 1 may stand before it.

    Raises:
        LabError: naming the key and the file, if it is missing, damaged, or of another shape.
    """
    check_file(path, key)
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(stored, np.ndarray) or stored.dtype.kind not in "fiub":
            raise ValueError("it holds no array of numbers")
        if stored.shape not in (shape, (1, *shape)):
            raise LabError(
                f"{key}={path}: its shape is {list(stored.shape)}, and one sample of the run's {list(shape)}"
            )
        return torch.from_numpy(np.array(stored.astype(stored.dtype.newbyteorder("=")))).reshape(shape)
    except (OSError, ValueError, TypeError, EOFError) as error:
        text = " ".join(str(error).split())[:150]
        raise LabError(f"{key}={path}: it cannot be read as a NumPy file ({text})") from error


def check_file(path: Path, key: str) -> None:
    """Raise LabError, naming the key, unless `path` is a regular file of a bounded size."""
    if not path.is_file():
        raise LabError(f"{key}={path}: there is no such file")
    if path.stat().st_size > _LARGEST:
        raise LabError(f"{key}={path}: it has {path.stat().st_size:,} bytes, and such files may have {_LARGEST:,}")


def _check_size(picture: Image.Image, size: tuple[int, int], key: str, path: Path) -> None:
    if picture.size != size:
        found, expected = ("×".join(map(str, sides)) for sides in (picture.size, size))
        raise LabError(f"{key}={path}: it has {found} pixels, and the run's images have {expected}")
