"""A network of a few convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffusion_lab.networks import Network


class ConvNet(Network):
    """Residual convolutions at full resolution, each with an offset that depends on the time.

    Args:
        in_channels: C of the codes [B, C, H, W]; filled in.
        out_channels: C of the raw prediction; filled in.
        width: the number of channels within.
        depth: the number of residual blocks; each sees twice as far as the one before.
    """

    frequencies: Tensor

    def __init__(self, in_channels: int, out_channels: int, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"network.width must be even and at least 2, got {width}")
        self.register_buffer("frequencies", torch.logspace(0, -4, width // 2), persistent=False)
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in range(depth))
        self.offsets = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.blocks = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=2**number, dilation=2**number) for number in range(depth)
        )
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the raw prediction [B, out_channels, H, W] for codes [B, in_channels, H, W] and their noise [B]."""
        angles = c_noise[:, None] * self.frequencies
        time = torch.cat([angles.sin(), angles.cos()], dim=1).to(x.dtype)
        hidden = self.first(x)
        for block, norm, offset in zip(self.blocks, self.norms, self.offsets, strict=True):
            hidden = hidden + block(nn.functional.silu(norm(hidden) + offset(time)[:, :, None, None]))
        return self.last(nn.functional.silu(hidden))
