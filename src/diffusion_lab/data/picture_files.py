"""Picture files, each read as a square of one size."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from diffusion_lab.data.split import HASH_BYTES, Stored, UnreadableItemsError

#: Endings of the names of pictures, in lower case, and the formats that they may have, as PIL names them. Others that
#: PIL knows are left out: some (EPS) are run by another program.
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"})
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")


@dataclass(frozen=True)
class PictureFiles(Stored):
    """Pictures as [N, C, S, S] uint8; see `square`.

    Attributes:
        folder: that the files lie below.
        names: the path of each, relative to `folder`.
        size: S.
        channels: C, 1 or 3.
    """

    folder: Path
    names: Sequence[str]
    size: int
    channels: int

    def __len__(self) -> int:
        return len(self.names)

    @property
    def nbytes(self) -> int:
        return len(self) * self.channels * self.size**2

    def __getitem__(self, rows: Tensor) -> PictureFiles:
        return PictureFiles(self.folder, [self.names[row] for row in rows.tolist()], self.size, self.channels)

    def read(self) -> Tensor:
        return self._read(hashed=False)[0]

    def read_with_hashes(self) -> tuple[Tensor, Tensor]:
        """Return the pictures and the hash of each file, whose pixels may change with the version of PIL."""
        return self._read(hashed=True)

    def _read(self, hashed: bool) -> tuple[Tensor, Tensor]:
        pictures = torch.empty(len(self), self.channels, self.size, self.size, dtype=torch.uint8)
        hashes = torch.zeros(len(self), HASH_BYTES, dtype=torch.uint8)
        broken = []
        for row, name in enumerate(self.names):
            path = self.folder / name
            try:
                with path.open("rb") as file:
                    if hashed:
                        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).digest()
                        hashes[row] = torch.frombuffer(bytearray(digest), dtype=torch.uint8)
                        file.seek(0)
                    pictures[row] = square(file, self.size, self.channels)
            except Exception as error:  # a broken file makes PIL raise anything
                reason = " ".join(str(error).split())[:100] or type(error).__name__
                broken.append(f"{path} ({reason.removesuffix('.')})")
        if broken:
            raise UnreadableItemsError(broken)
        return pictures, hashes


def square(file: IO[bytes], size: int, channels: int) -> Tensor:
    """Return the central square of a picture, as large as its shorter side, resized to [channels, size, size] uint8.

    Of an animation it is the first frame; see `flattened`. The resizing is bicubic with antialiasing; a picture that
    has the size already keeps its pixels.

    Raises:
        ValueError: if its pixels have no known range, or are more than PIL's limit (`Image.MAX_IMAGE_PIXELS`).
        Exception: whatever PIL raises for a broken file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning)  # of metadata that is not used
        try:
            opened = Image.open(file, formats=_FORMATS)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(f"it has more than {Image.MAX_IMAGE_PIXELS:,} pixels, PIL's limit") from error
        except Image.UnidentifiedImageError as error:
            raise ValueError("it is no picture") from error
        picture = flattened(opened, channels)
    side = min(picture.size)
    left, top = ((length - side) // 2 for length in picture.size)
    box = (left, top, left + side, top + side)
    pixels = torch.from_numpy(np.array(picture.resize((size, size), Image.Resampling.BICUBIC, box)))
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1)


def flattened(opened: Image.Image, channels: int) -> Image.Image:
    """Return a picture in 8 bits, in grey for one channel and in RGB for three, upright and without transparency.

    It is turned as its EXIF data says. What is transparent is laid on white. 16-bit grey becomes 8-bit (v / 257,
    rounded); grey is repeated for three channels, and for one, colours become grey by the luma of ITU-R 601-2.

    Raises:
        ValueError: if its pixels have no known range.
        Exception: whatever PIL raises for a broken file.
    """
    picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and opened.format in ("PNG", "PPM")):
        picture = Image.fromarray((np.asarray(picture).astype(np.float64) / 257).round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"it has 32-bit pixels (mode {picture.mode}), whose range is not known")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L" if channels == 1 else "RGB")
