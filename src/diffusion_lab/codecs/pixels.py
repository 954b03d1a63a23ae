"""Pixels are diffused as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diffusion_lab.codecs.base import Codec
from diffusion_lab.distributions import Distribution, Normal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from diffusion_lab.figures import Sheet


class Pixels(Codec):
    """Images [B, C, H, W] float in [−1, 1] are their own code.

    Args:
        channels: C; filled in from the data.
    """

    value_range: tuple[float, float] | None = (-1.0, 1.0)
    levels = 256

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels

    def provides(self) -> dict[str, Any]:
        return {"in_channels": self.channels}

    def encode(self, x: Tensor) -> Tensor:
        """Return [B, C, H, W] in [−1, 1], unchanged."""
        return x

    def decode(self, z: Tensor) -> Tensor:
        """Return [B, C, H, W]: what lies outside [−1, 1] is no image, and is clipped."""
        return z.clamp(-1, 1)

    def log_likelihood(self, x: Tensor, z0: Distribution) -> Tensor:
        """Return the log-probability of 8-bit images under a normal distribution (Ho et al. 2020, eq. 13).

        Each of the 256 values u/127.5 − 1 has the probability of the interval of half-width 1/255 around it; the
        intervals of the lowest and highest value are open to the outside.

        Args:
            x: [B, C, H, W] images in [−1, 1].
            z0: a `Normal` with a standard deviation above 0.
        """
        assert isinstance(z0, Normal)
        mean, std = z0.mean.double(), z0.std.double()
        x = x.double()
        low = torch.where(x > -0.999, (x - 1 / 255 - mean) / std, -torch.inf)
        high = torch.where(x < 0.999, (x + 1 / 255 - mean) / std, torch.inf)
        # Both ends are taken to the lower tail, where the logarithm of the distribution function keeps its digits.
        upper = low > 0
        low, high = torch.where(upper, -high, low), torch.where(upper, -low, high)
        log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
        return (log_high + torch.log1p(-torch.exp(log_low - log_high))).flatten(1).sum(1)

    def show(self, sheet: Sheet) -> Figure:
        from diffusion_lab.figures import draw_image_grid

        return draw_image_grid(sheet)

    def animate(self, states: Sequence[Tensor], path: Path) -> Path:
        """Write a GIF of grids, one frame for each state."""
        from diffusion_lab.figures import animation

        return animation(list(states), path)
