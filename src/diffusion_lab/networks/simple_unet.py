"""The tutorial's small time-conditioned U-Net.

With one channel, base 32, multipliers (1, 2) and time dimension 64 it has 130,305 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from diffusion_lab.networks.base import Network, check_halvings, check_share
from diffusion_lab.networks.layers import SinusoidalEmbedding, conv_of_upsampled, group_norm, pointwise

GROUPS = 8


class Block(nn.Module):
    """Conv 3×3 → GroupNorm → SiLU, then the time embedding is added to every position; dropout, if any, is last."""

    def __init__(self, in_channels: int, out_channels: int, time_dim: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, out_channels)
        self.time = nn.Linear(time_dim, out_channels)
        self.dropout = dropout

    def forward(self, x: Tensor, time: Tensor, below: Tensor | None = None) -> Tensor:
        """Map x [B, C, H, W] and time [B, time_dim] to [B, out, H, W].

        Where there is `below` [B, C', H/2, W/2], the convolution is that of `below`, upsampled, and x concatenated:
        the sum of the convolutions of each, so that neither the upsampled nor the concatenated images are made.
        """
        if below is None:
            h = self.conv(x)
        else:
            of_below, of_x = self.conv.weight.split([below.shape[1], x.shape[1]], dim=1)
            h = conv_of_upsampled(below, of_below) + nn.functional.conv2d(x, of_x, self.conv.bias, padding=1)
        h = nn.functional.silu(group_norm(self.norm, h))  # [B, out, H, W]
        h = h + self.time(time)[:, :, None, None]
        return nn.functional.dropout(h, self.dropout, self.training) if self.dropout else h


class SimpleUNet(Network):
    """Encoder and decoder with one block per level, max-pooling down and nearest upsampling.

    Args:
        in_channels: channels of the state; filled in from the data at composition.
        out_channels: channels of the raw output; filled in from the data and the parameterization.
        image_size: side of the square images; filled in from the data. It halves once per level.
        base_channels: width of the first level, a multiple of 8.
        channel_multipliers: width of each level as a multiple of `base_channels`.
        time_dim: size of the time embedding, even and at least 4.
        dropout: the share of each block's output that is dropped while training, from 0 to below 1.

    Raises:
        ValueError: naming the key, if the sizes do not fit together.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int,
        base_channels: int = 32,
        channel_multipliers: Sequence[int] = (1, 2),
        time_dim: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        levels = len(channel_multipliers)
        check_halvings(channel_multipliers, image_size, levels)
        if base_channels < GROUPS or base_channels % GROUPS:
            raise ValueError(f"network.base_channels must be a multiple of {GROUPS}, got {base_channels}")
        if time_dim < 4 or time_dim % 2:
            raise ValueError(f"network.time_dim must be even and at least 4, got {time_dim}")
        check_share("network.dropout", dropout)
        widths = [base_channels * m for m in channel_multipliers]
        if image_size == 2**levels and widths[-1] == GROUPS:
            raise ValueError(
                f"network.channel_multipliers has {levels} levels, which leave one pixel of {GROUPS} channels: each of "
                f"the {GROUPS} groups that are normalized would hold one number; take fewer levels or more channels"
            )
        self.position = SinusoidalEmbedding(time_dim)
        self.time_embedding = nn.Sequential(nn.Linear(time_dim, time_dim), nn.SiLU())
        self.encoder = nn.ModuleList(
            Block(before, width, time_dim, dropout)
            for before, width in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.bottleneck = Block(widths[-1], widths[-1], time_dim, dropout)
        # A level of the decoder takes what comes from below beside the skip, and leaves with the width of
        # the level above it.
        self.decoder = nn.ModuleList(
            Block(below + skip, above, time_dim, dropout)
            for below, skip, above in zip(
                [widths[-1], *widths[:-1][::-1]], widths[::-1], [*widths[:-1][::-1], widths[0]], strict=True
            )
        )
        self.out = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map x [B, in, H, W] and c_noise [B] to raw [B, out, H, W]. The condition must be None."""
        if condition is not None:
            raise ValueError("network=simple_unet takes no labels")
        time = self.time_embedding(self.position(c_noise).to(x.dtype))  # [B, time_dim]
        skips = []
        for block in self.encoder:
            x = block(x, time)  # [B, width, H, W]
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)  # [B, width, H/2, W/2]
        x = self.bottleneck(x, time)
        for block in self.decoder:
            x = block(skips.pop(), time, below=x)  # [B, width of the level above, 2H, 2W]
        return pointwise(self.out, x)
