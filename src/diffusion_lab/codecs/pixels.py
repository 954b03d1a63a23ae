"""Pixels are diffused as they are."""

from __future__ import annotations

from torch import Tensor


class Pixels:
    """Images [B, C, H, W] float in [−1, 1] are their own code."""

    def encode(self, x: Tensor) -> Tensor:
        """[B, C, H, W] in [−1, 1], unchanged."""
        return x

    def decode(self, z: Tensor) -> Tensor:
        """[B, C, H, W]: what lies outside [−1, 1] is no image, and is clipped."""
        return z.clamp(-1, 1)
