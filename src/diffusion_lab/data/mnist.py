"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017), by way of torchvision's download."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from diffusion_lab.data.base import Split
from diffusion_lab.data.downloaded import DownloadedImages
from diffusion_lab.errors import LabError


class MNIST(DownloadedImages):
    """60,000 handwritten digits to train on and 10,000 to test on, 28×28, one channel, ten classes."""

    name = "MNIST"
    channels, image_size, num_classes = 1, 28, 10
    train_images = 60_000
    source: type[datasets.MNIST] = datasets.MNIST
    instead = " (.gz is fine too)"
    #: md5 of the four files: images and labels to train on, then those to test on.
    checksums: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }

    @property
    def raw_dir(self) -> Path:
        """Where the four files lie."""
        return self.data_dir / self.name / "raw"

    def fetch(self) -> None:
        self.source(self.data_dir, download=True)

    def read(self) -> tuple[Split, Split]:
        # Read by name, for torchvision's classes would take older files of another format where they lie about.
        arrays = [read_idx(self.raw_dir / name) for name in self.checksums]
        pool, test = (Split(arrays[i][:, None], arrays[i + 1].long()) for i in (0, 2))
        return pool, test


class FashionMNIST(MNIST):
    """60,000 pictures of clothing to train on and 10,000 to test on; otherwise as `MNIST`."""

    name = "FashionMNIST"
    source = datasets.FashionMNIST
    checksums: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }


def read_idx(path: Path) -> Tensor:
    """Return the bytes of a file in MNIST's IDX format, as uint8 of the shape it declares; gzipped if its name says so.

    The format: two zero bytes, the type (8 for bytes), the number of dimensions, each size as a big-endian 32-bit
    integer, the data.

    Raises:
        LabError: naming the file, if it is none.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            zeros, kind, dimensions = struct.unpack(">HBB", file.read(4))
            sizes = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
            content = file.read(math.prod(sizes) + 1)
        if (zeros, kind) != (0, 8) or len(content) != math.prod(sizes):
            raise ValueError("its content is not what its head says")
    except (ValueError, EOFError, struct.error, zlib.error) as error:
        raise LabError(f"{path} is no IDX file of bytes: {error}") from error
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy()).reshape(sizes)
