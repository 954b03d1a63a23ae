"""Images, stored as uint8 and normalized to [−1, 1]."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffusion_lab.data.base import DataModule


class ImageDataModule(DataModule):
    """Square images: a split holds [N, C, H, W] uint8, a batch float32 in [−1, 1].

    Attributes:
        channels, image_size: C, and H = W.
    """

    item = "image"
    channels: int
    image_size: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.image_size, self.image_size)

    def provides(self) -> dict[str, Any]:
        return {"channels": self.channels, "image_size": self.image_size}

    def to_batch(self, stored: Tensor) -> Tensor:
        """Return u / 127.5 − 1 as float32 for images with values u from 0 to 255."""
        return (stored.float() / 127.5).sub_(1)
