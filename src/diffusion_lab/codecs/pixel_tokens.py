"""Pixels as tokens: each value of each pixel is a category (Austin et al. 2021, D3PM, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.codecs.pixels import Pixels
from diffusion_lab.distributions import Categorical, Distribution


class PixelTokens(Pixels):
    """Images [B, C, H, W] float in [−1, 1] as sequences [B, C·H·W] int64 of levels, row by row.

    With fewer than 256 levels, values of 8 bits are rounded to the nearest level, and what is measured is the
    likelihood of the rounded image.

    Args:
        channels, image_size: C, and H = W; filled in from the data.
        levels: how many values a pixel can have, from 2 to 256.

    Raises:
        ValueError: if the number of levels is out of its range.
    """

    value_range = None

    def __init__(self, channels: int = 1, image_size: int = 28, levels: int = 256) -> None:
        super().__init__(channels)
        if not 2 <= levels <= 256:
            raise ValueError(f"codec.levels must lie between 2 and 256, got {levels}")
        self.image_size = image_size
        self.levels = levels

    def code_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (self.channels * self.image_size**2,)

    def provides(self) -> dict[str, Any]:
        return {"vocab_size": self.levels, "length": self.channels * self.image_size**2}

    def encode(self, x: Tensor) -> Tensor:
        """Return the levels [B, C·H·W] int64 of images [B, C, H, W]."""
        return ((x + 1) / 2 * (self.levels - 1)).round().long().clamp(0, self.levels - 1).flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        """Return images [B, C, H, W] float32; a masked pixel is mid-grey."""
        values = z.float() * (2 / (self.levels - 1)) - 1
        values = torch.where(z < self.levels, values, 0)
        return values.view(-1, self.channels, self.image_size, self.image_size)

    def log_likelihood(self, x: Tensor, z0: Distribution) -> Tensor:
        """Return the log-probability [B] of the levels of images under a `Categorical`."""
        assert isinstance(z0, Categorical)
        return z0.log_probs.gather(-1, self.encode(x)[..., None]).flatten(1).sum(1)
