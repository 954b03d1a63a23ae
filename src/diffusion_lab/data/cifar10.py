"""CIFAR-10 (Krizhevsky 2009), from the binary version of its archive: bytes, where the usual one has pickles."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from diffusion_lab.data.base import Split
from diffusion_lab.data.downloaded import DownloadedImages
from diffusion_lab.errors import LabError

_ARCHIVE = "cifar-10-binary.tar.gz"

#: Bytes of one image: its label, then 32×32 bytes of red, as many of green, and of blue.
_RECORD = 1 + 3 * 32 * 32


class CIFAR10(DownloadedImages):
    """50,000 photographs to train on and 10,000 to test on, 32×32, three channels, ten classes.

    The archive is not unpacked: its checksum is that of all that is read from it.
    """

    name = "CIFAR10"
    channels, image_size, num_classes = 3, 32, 10
    train_images = 50_000
    mirrors = ("https://www.cs.toronto.edu/~kriz/",)
    #: md5 of the archive, as https://www.cs.toronto.edu/~kriz/cifar.html gives it.
    checksums: ClassVar[dict[str, str]] = {_ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"}
    #: How many images each file of the archive holds.
    images_in_file = 10_000

    @property
    def raw_dir(self) -> Path:
        """Where the archive lies."""
        return self.data_dir / self.name

    def read(self) -> tuple[Split, Split]:
        batches = [f"data_batch_{number}.bin" for number in range(1, 6)]
        records = self._read_files([*batches, "test_batch.bin"])
        pool = torch.cat([records[name] for name in batches])
        return _split(pool), _split(records["test_batch.bin"])

    def _read_files(self, names: list[str]) -> dict[str, Tensor]:
        """Return the records [N, 3073] uint8 of these files of the archive."""
        path = self.raw_dir / _ARCHIVE
        found: dict[str, Tensor] = {}
        try:
            with tarfile.open(path, "r|gz") as archive:
                for member in archive:
                    name = Path(member.name).name
                    file = archive.extractfile(member) if name in names else None
                    if file is not None:
                        found[name] = self._records(file.read(self.images_in_file * _RECORD + 1), f"{path}: {name}")
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise LabError(f"{path} is damaged: {error}") from error
        if missing := ", ".join(name for name in names if name not in found):
            raise LabError(f"{path} is damaged: it lacks {missing}")
        return found

    def _records(self, content: bytes, where: str) -> Tensor:
        records = np.frombuffer(content, np.uint8)
        if len(records) != self.images_in_file * _RECORD or np.max(records[::_RECORD]) >= self.num_classes:
            raise LabError(f"{where} is damaged: it does not hold {self.images_in_file:,} images of ten classes")
        return torch.from_numpy(records.copy()).reshape(-1, _RECORD)


def _split(records: Tensor) -> Split:
    return Split(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].long())
