"""The seam of the config group `features`: where the features come from with which images are compared."""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from diffusion_lab.data import DataModule

#: How many digits of a hash a label shows.
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Extractor:
    """A network that turns images into features, with what its numbers must be reported with.

    Numbers of extractors with different hashes are not comparable.

    Attributes:
        name: of the extractor, as in tables: own/MNIST, inception.
        weights_hash: SHA-256 of the file of its weights, 64 hexadecimal digits.
        num_features: D.
        num_classes: K.
        accuracy: the share of the data's test images whose class it finds, from 0 to 1; None if its classes are
            others than the data's.
        shape: of the images that it takes, [C, H, W].
        network: images [n, C, H, W] in [−1, 1] → features [n, D] and logits [n, K]; on its device, in evaluation mode.
    """

    name: str
    weights_hash: str
    num_features: int
    num_classes: int
    accuracy: float | None
    shape: tuple[int, ...]
    network: nn.Module

    @property
    def label(self) -> str:
        """The name and the first digits of the hash, as in ``own/MNIST@0123abcd``."""
        return f"{self.name}@{self.weights_hash[:_SHOWN]}"

    def __call__(self, images: Tensor, batch_size: int = 500, progress: bool = False) -> tuple[Tensor, Tensor]:
        """Return the features [N, D] and the logits [N, K], float32 on the CPU.

        Images are rounded to 8 bits first, as they would be saved and as real ones are; values outside [−1, 1] are
        clipped. The result depends on neither the batch size nor the other images, up to rounding: it is computed in
        full float32, without autocast and TensorFloat-32.

        Args:
            images: [N, C, H, W] float32 in [−1, 1].
            batch_size: images at a time.
            progress: whether to show a bar on stderr.

        Raises:
            ValueError: if the images have another shape, there are none, or values are not finite.
        """
        if images.ndim != 4 or images.shape[1:] != self.shape or len(images) == 0:
            raise ValueError(
                f"features={self.name} needs images [N, {', '.join(map(str, self.shape))}], got {list(images.shape)}"
            )
        if batch_size < 1:
            raise ValueError(f"the batch size of features must be at least 1, got {batch_size}")
        device = next(self.network.parameters()).device
        features, logits = [], []
        with torch.inference_mode(), _full_float32(device):
            for batch in tqdm(images.split(batch_size), unit="batch", dynamic_ncols=True, disable=not progress):
                found, scores = self.network(_rounded_to_8_bits(batch.to(device)))
                features.append(found.float().cpu())
                logits.append(scores.float().cpu())
        return torch.cat(features), torch.cat(logits)


class FeatureSource(ABC):
    """Where features come from: the option of the config group `features`.

    Attributes:
        path: the file that a person named; None if none was.
    """

    path: Path | None = None

    def file_hash(self) -> str | None:
        """Return the SHA-256 of the file that was named; None if none was, or if it cannot be read."""
        if self.path is None:
            return None
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    @abstractmethod
    def load_extractor(self, data: DataModule, device: torch.device | None = None) -> Extractor:
        """Return the extractor for the images of this data, which must be there, on `device` (None for the CPU).

        Raises:
            LabError: if there is none, in one line that says what is possible.
        """


def _rounded_to_8_bits(images: Tensor) -> Tensor:
    if not bool(images.isfinite().all()):
        raise ValueError("there are images with values that are not finite, which have no features")
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


@contextlib.contextmanager
def _full_float32(device: torch.device) -> Iterator[None]:
    """Compute in full float32 in the block, whatever the run around it has chosen."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
