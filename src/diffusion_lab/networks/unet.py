"""The residual U-Net with attention of ADM (Dhariwal & Nichol 2021; Nichol & Dhariwal 2021; Ho et al. 2020).

Its last convolutions start at zero, so that at first a block is the identity and the raw output 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from diffusion_lab.networks.base import LabelledNetwork, check_halvings, check_patches, check_share
from diffusion_lab.networks.layers import (
    SinusoidalEmbedding,
    attend,
    conv_of_upsampled,
    fourier_features,
    pointwise,
    scaled_group_norm,
    split_heads,
)

#: The most groups that channels are normalized in, where nothing else is asked for.
_MOST_GROUPS = 32

#: How images are halved and doubled between levels.
Resampling = bool | Literal["conv", "conv_ddpm"]


class UNet(LabelledNetwork):
    """Levels of residual blocks, with attention at some sizes, joined by skips; each level below halves the image.

    Args:
        in_channels, out_channels, image_size, num_classes: filled in from the data and the parameterization.
        base_channels: width of the first level, a multiple of 8.
        channel_multipliers: width of each level as a multiple of `base_channels`.
        num_blocks: residual blocks of each level on the way down; one more on the way up.
        attention_sizes: sides of the images at which each block is followed by self-attention.
        head_channels: width of an attention head; it divides the width of each level with attention.
        heads: number of attention heads, the same at each level, in the place of `head_channels`; None for that.
        dropout: the share of each block's hidden values that is dropped while training, from 0 to below 1.
        scale_shift: the time scales and shifts the normalized values (ADM); else it is added before normalizing (DDPM).
        patch_size: side of the patches whose pixels become channels of the first level (pixel unshuffle; Shi et al.
            2016), so that all levels are smaller by as much; it divides the image size.
        learned_resampling: how images are halved and doubled. True: by residual blocks that resample inside (ADM);
            False: by pooling and repeating; ``conv``: by a convolution of stride 2, and by one after repeating
            (improved DDPM); ``conv_ddpm``: the same, halved with zeros on the right and below alone (DDPM).
        norm_groups: groups of each normalization, which divide the channels of each; None: groups of at least 4
            channels, at most 32.
        norm_eps: added to the variance in each normalization, above 0.
        time_scale: factor of the time before it is embedded, above 0; 1000/T undoes what T adds to it.
        freq_shift: 1: the slowest frequency by which the time is embedded is 1/10000 (DDPM); 0: the one before (ADM).
        fourier_features: exponents n of the sines and cosines of 2ⁿ·π times the input that join it, from 0 to 12; see
            `layers.fourier_features`.
        labels, condition_dropout: see `LabelledNetwork`.

    Raises:
        ValueError: naming the key, if the sizes do not fit together.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int,
        num_classes: int | None = None,
        base_channels: int = 64,
        channel_multipliers: Sequence[int] = (1, 2, 2),
        num_blocks: int = 2,
        attention_sizes: Sequence[int] = (7, 8),
        head_channels: int = 32,
        heads: int | None = None,
        dropout: float = 0.0,
        scale_shift: bool = True,
        learned_resampling: Resampling = True,
        norm_groups: int | None = None,
        norm_eps: float = 1e-5,
        time_scale: float = 1.0,
        freq_shift: Literal[0, 1] = 1,
        labels: bool = False,
        condition_dropout: float = 0.1,
        patch_size: int = 1,
        fourier_features: Sequence[int] = (),
    ) -> None:
        time_dim = 4 * base_channels
        super().__init__(labels, num_classes, condition_dropout, time_dim)
        levels = len(channel_multipliers)
        check_patches(patch_size, image_size)
        check_halvings(channel_multipliers, image_size, levels - 1, patch_size)
        check_share("network.dropout", dropout)
        if base_channels < 8 or base_channels % 8:
            raise ValueError(f"network.base_channels must be a multiple of 8, got {base_channels}")
        if num_blocks < 1:
            raise ValueError(f"network.num_blocks must be 1 or more, got {num_blocks}")
        if head_channels < 1:
            raise ValueError(f"network.head_channels must be 1 or more, got {head_channels}")
        if heads is not None and heads < 1:
            raise ValueError(f"network.heads must be 1 or more, or null, got {heads}")
        if not 0 < time_scale < math.inf:
            raise ValueError(f"network.time_scale must be above 0, got {time_scale}")
        if not 0 < norm_eps < 1:
            raise ValueError(f"network.norm_eps must lie between 0 and 1, got {norm_eps}")
        if not set(fourier_features) <= set(range(13)) or len(set(fourier_features)) < len(fourier_features):
            raise ValueError(
                f"network.fourier_features must be different integers from 0 to 12, got {list(fourier_features)}"
            )
        widths = [base_channels * m for m in channel_multipliers]
        sizes = [image_size // patch_size // 2**level for level in range(levels)]
        if attention_sizes and not set(sizes) & set(attention_sizes):
            raise ValueError(
                f"network.attention_sizes={list(attention_sizes)}: no level has such a size; they have {sizes}"
            )
        if norm_groups is not None and (
            norm_groups < 1 or any(width % norm_groups for width in [base_channels, *widths])
        ):
            raise ValueError(
                f"network.norm_groups must divide network.base_channels={base_channels} and the width of each level, "
                f"{widths}, or be null, got {norm_groups}"
            )
        key, parts = ("head_channels", head_channels) if heads is None else ("heads", heads)
        for width, size in zip(widths, sizes, strict=True):
            if (size in attention_sizes or size == sizes[-1]) and width % parts:
                raise ValueError(
                    f"network.{key} must divide the width of each level with attention, got {parts} "
                    f"for {width} channels at {size}×{size}"
                )
        self.time_scale = time_scale
        self.position = SinusoidalEmbedding(base_channels, freq_shift)
        self.time_embedding = nn.Sequential(
            nn.Linear(base_channels, time_dim), nn.SiLU(), nn.Linear(time_dim, time_dim)
        )

        def block(before: int, after: int, resample: str | None = None) -> ResidualBlock:
            return ResidualBlock(before, after, time_dim, dropout, scale_shift, resample, norm_groups, norm_eps)

        def resampling(width: int, direction: str) -> nn.Module:
            if isinstance(learned_resampling, str):
                return ConvResample(width, direction, after_only=learned_resampling == "conv_ddpm")
            return block(width, width, direction) if learned_resampling else _Resample(direction)

        def attention(width: int, size: int | None = None) -> nn.Module:
            if size is not None and size not in attention_sizes:
                return nn.Identity()
            return SelfAttention(width, width // head_channels if heads is None else heads, norm_groups, norm_eps)

        self.patch_size = patch_size
        self.fourier_features = tuple(fourier_features)
        seen_channels = in_channels * (1 + 2 * len(self.fourier_features))
        self.first = nn.Conv2d(seen_channels * patch_size**2, base_channels, 3, padding=1)
        self.down = nn.ModuleList()
        skips, width = [base_channels], base_channels
        for level, (after, size) in enumerate(zip(widths, sizes, strict=True)):
            for _ in range(num_blocks):
                self.down.append(_Stage(block(width, after), attention(after, size)))
                width = after
                skips.append(width)
            if level < levels - 1:
                self.down.append(_Stage(resampling(width, "down"), nn.Identity()))
                skips.append(width)
        self.middle = _Stage(block(width, width), attention(width))
        self.after_middle = block(width, width)
        self.up = nn.ModuleList()
        for level, (after, size) in reversed(list(enumerate(zip(widths, sizes, strict=True)))):
            for _ in range(num_blocks + 1):
                joined = block(width + skips.pop(), after)
                self.up.append(_Stage(joined, attention(after, size)))
                width = after
            if level:
                self.up.append(_Stage(resampling(width, "up"), nn.Identity(), takes_skip=False))
        self.norm = _norm(width, norm_groups, norm_eps)
        self.out = _zeroed(nn.Conv2d(width, out_channels * patch_size**2, 3, padding=1))

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map x [B, in, H, W], c_noise [B] and labels [B] int64 (None without) to raw [B, out, H, W]."""
        time = self.time_embedding(self.position(c_noise * self.time_scale).to(x.dtype))  # [B, time_dim]
        time = self.with_label(time, condition)
        if self.fourier_features:
            x = fourier_features(x, self.fourier_features)
        x = self.first(nn.functional.pixel_unshuffle(x, self.patch_size))
        skips = [x]
        for stage in self.down:
            x = stage(x, time)
            skips.append(x)
        x = self.after_middle(self.middle(x, time), time)
        for stage in self.up:
            x = stage(torch.cat([x, skips.pop()], dim=1) if stage.takes_skip else x, time)
        raw = self.out(nn.functional.silu(scaled_group_norm(self.norm, x)))
        return nn.functional.pixel_shuffle(raw, self.patch_size)


class ResidualBlock(nn.Module):
    """Norm → SiLU → conv 3×3 → norm with the time → SiLU → dropout → conv 3×3 from zero, added to the input.

    Args:
        before, after: channels.
        time_dim: size of the time embedding.
        dropout: the share of hidden values that is dropped while training.
        scale_shift: whether the time scales and shifts the normalized values, or is added before.
        resample: ``down``, ``up`` or None: both branches are resampled before the first convolution.
        norm_groups, norm_eps: see `UNet`.
    """

    def __init__(
        self,
        before: int,
        after: int,
        time_dim: int,
        dropout: float,
        scale_shift: bool,
        resample: str | None = None,
        norm_groups: int | None = None,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm_1 = _norm(before, norm_groups, norm_eps)
        self.resample = nn.Identity() if resample is None else _Resample(resample)
        self.doubles = resample == "up"
        self.conv_1 = nn.Conv2d(before, after, 3, padding=1)
        self.time = nn.Linear(time_dim, 2 * after if scale_shift else after)
        self.scale_shift = scale_shift
        self.norm_2 = _norm(after, norm_groups, norm_eps)
        self.dropout = dropout
        self.conv_2 = _zeroed(nn.Conv2d(after, after, 3, padding=1))
        self.skip = None if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map x [B, before, H, W] and time [B, time_dim] to [B, after, H', W']."""
        h = nn.functional.silu(scaled_group_norm(self.norm_1, x))
        if self.doubles:
            assert self.conv_1.bias is not None
            h = conv_of_upsampled(h, self.conv_1.weight) + self.conv_1.bias[:, None, None]
        else:
            h = self.conv_1(self.resample(h))
        told = self.time(nn.functional.silu(time))
        if self.scale_shift:
            scale, shift = told.chunk(2, dim=1)
            h = scaled_group_norm(self.norm_2, h, scale, shift)
        else:
            h = scaled_group_norm(self.norm_2, h + told[:, :, None, None])
        h = nn.functional.silu(h)
        h = nn.functional.dropout(h, self.dropout, self.training) if self.dropout else h
        x = self.resample(x)
        return (x if self.skip is None else pointwise(self.skip, x)) + self.conv_2(h)


class SelfAttention(nn.Module):
    """Norm → attention among all positions → linear map from zero, added to the input.

    Args:
        channels: a multiple of `heads`.
        heads: number of attention heads.
        norm_groups, norm_eps: see `UNet`.
    """

    def __init__(self, channels: int, heads: int, norm_groups: int | None = None, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels, norm_groups, norm_eps)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = _zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Map x [B, C, H, W] to the same shape."""
        positions = scaled_group_norm(self.norm, x).flatten(2).transpose(1, 2)  # [B, H·W, C]
        seen = self.out(attend(*split_heads(self.query_key_value(positions), self.heads)))
        return x + seen.transpose(1, 2).reshape(x.shape)


class _Stage(nn.Module):
    """A block and what follows it."""

    def __init__(self, block: nn.Module, after: nn.Module, takes_skip: bool = True) -> None:
        super().__init__()
        self.block = block
        self.after = after
        self.takes_skip = takes_skip

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.after(self.block(x, time))


class _Resample(nn.Module):
    """Halve an image by averaging, or double it by repeating."""

    def __init__(self, direction: str) -> None:
        super().__init__()
        self.down = direction == "down"

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        return nn.functional.avg_pool2d(x, 2) if self.down else nn.functional.interpolate(x, scale_factor=2.0)


class ConvResample(nn.Module):
    """Halve an image by a convolution of stride 2, or double it by repeating before a convolution; both are 3×3.

    Args:
        width: channels.
        direction: ``down`` or ``up``.
        after_only: halving, the image is padded on the right and below alone, and else on each side.
    """

    def __init__(self, width: int, direction: str, after_only: bool) -> None:
        super().__init__()
        self.down, self.after_only = direction == "down", after_only
        self.conv = nn.Conv2d(width, width, 3)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        assert self.conv.bias is not None
        if not self.down:
            return conv_of_upsampled(x, self.conv.weight) + self.conv.bias[:, None, None]
        x = nn.functional.pad(x, (0, 1, 0, 1) if self.after_only else (1, 1, 1, 1))
        return nn.functional.conv2d(x, self.conv.weight, self.conv.bias, stride=2)


def _norm(channels: int, groups: int | None, eps: float) -> nn.GroupNorm:
    """Return a normalization in so many groups; None: at most 32 of at least 4 channels each."""
    if groups is None:
        groups = next(g for g in range(min(_MOST_GROUPS, channels // 4), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels, eps)


def _zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
