"""The handwritten digits bundled with scikit-learn (Alpaydin & Kaynak 1998): nothing to download."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.data.base import Split
from diffusion_lab.data.images import ImageDataModule
from diffusion_lab.data.loader import permutation

#: Side of the largest images that 8×8 pixels are made.
_LARGEST = 256


class Digits(ImageDataModule):
    """1,797 digits of 8×8 pixels, upsampled; 80 % to train on, 10 % to validate and 10 % to test on.

    Args:
        batch_size: of the global batch.
        image_size: the side of the upsampled images, at least 8.
        split_seed: which images go where; each split has its share of every class.
        limit_train: train on the first so many images only; None for all.
        seed: of the order in which the images are seen.
    """

    name = "digits"
    channels, num_classes = 1, 10

    def __init__(
        self,
        batch_size: int = 128,
        image_size: int = 16,
        split_seed: int = 0,
        limit_train: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, limit_train, seed)
        if not 8 <= image_size <= _LARGEST:
            raise ValueError(f"data.image_size must lie between 8 and {_LARGEST}, got {image_size}")
        self.image_size = image_size
        self.split_seed = split_seed

    def prepare_data(self) -> None:
        """Nothing to fetch."""

    def load(self) -> tuple[Split, Split, Split]:
        from sklearn.datasets import load_digits

        pixels, target = load_digits(return_X_y=True)
        small = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 16  # 0 to 1
        images = torch.nn.functional.interpolate(small, size=self.image_size, mode="bilinear", antialias=True)
        labels = torch.from_numpy(target).long()
        pool = Split((images * 255).round().to(torch.uint8), labels)
        parts: list[list[Tensor]] = [[], [], []]
        for label in range(self.num_classes):
            rows = (labels == label).nonzero()[:, 0]
            rows = rows[permutation(len(rows), self.split_seed, "digit", label)]
            tenth = round(len(rows) / 10)
            for part, chosen in zip(parts, rows.split([len(rows) - 2 * tenth, tenth, tenth]), strict=True):
                part.append(chosen)
        # Within a split the classes are mixed, so that its first rows show them all.
        train, val, test = (
            pool.take(rows[permutation(len(rows), self.split_seed, "mix")]) for rows in map(torch.cat, parts)
        )
        return train, val, test
