"""Pictures of discs, drawn by this module: nothing to download."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_lab.data.images import ImageDataModule
from diffusion_lab.data.split import Split

COUNTS = {"train": 2000, "val": 250, "test": 250}


class Discs(ImageDataModule):
    """Bright discs of different places and radii on a dark ground: 2,000 to train on, 250 each to validate and test on.

    Args:
        batch_size: of the global batch.
        image_size: the side of the pictures, at least 8.
        limit_train: train on the first so many only; None for all.
        seed: of the order in which they are seen.
    """

    name = "discs"
    channels = 1

    def __init__(
        self, batch_size: int = 100, image_size: int = 16, limit_train: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(batch_size, limit_train, seed)
        if image_size < 8:
            raise ValueError(f"data.image_size must be at least 8, got {image_size}")
        self.image_size = image_size

    def load(self) -> tuple[Split, Split, Split]:
        """Return the splits; each has a generator of its own, so that none depends on the size of another."""
        train, val, test = (
            Split(draw(count, self.image_size, torch.Generator().manual_seed(seed)))
            for seed, count in enumerate(COUNTS.values())
        )
        return train, val, test


def draw(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Return pictures [count, 1, size, size] uint8 of one disc each."""
    place, radius = torch.rand(count, 2, 1, 1, generator=generator), torch.rand(count, 1, 1, generator=generator)
    radius = size * (0.15 + 0.2 * radius)
    center = radius[:, None] + (size - 1 - 2 * radius[:, None]) * place  # the whole disc is seen
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = ((rows - center[:, 0]) ** 2 + (columns - center[:, 1]) ** 2).sqrt()
    brightness = (radius - distance + 0.5).clamp(0, 1)
    return (255 * brightness).round().to(torch.uint8)[:, None]
