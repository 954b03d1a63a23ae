"""Images, stored as uint8 and normalized to [−1, 1]."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from diffusion_lab.data.base import DataModule
from diffusion_lab.noise import Noise


class ImageDataModule(DataModule):
    """Square images: a split holds [N, C, H, W] uint8, a batch float32 in [−1, 1].

    Args:
        batch_size, limit_train, seed, in_memory, workers: as in `DataModule`.
        flip: whether an image is mirrored, left to right, in half of the epochs of training, at random.

    Attributes:
        channels, image_size: C, and H = W.
    """

    item = "image"
    channels: int
    image_size: int

    def __init__(
        self,
        batch_size: int,
        limit_train: int | None,
        seed: int,
        in_memory: Literal["auto"] | bool = "auto",
        workers: int = 0,
        flip: bool = False,
    ) -> None:
        super().__init__(batch_size, limit_train, seed, in_memory, workers)
        self.flip = flip

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.image_size, self.image_size)

    def provides(self) -> dict[str, Any]:
        return {"channels": self.channels, "image_size": self.image_size}

    def to_batch(self, stored: Tensor) -> Tensor:
        """Return u / 127.5 − 1 as float32 for images with values u from 0 to 255."""
        return (stored.float() / 127.5).sub_(1)

    def augment(self, stored: Tensor, noise: Noise) -> Tensor:
        """Return images [n, C, H, W], each mirrored left to right with a probability of one half if `flip` says so."""
        if not self.flip:
            return stored
        mirrored = noise.at("flip").uniform() < 0.5
        return torch.where(mirrored[:, None, None, None], stored.flip(-1), stored)
