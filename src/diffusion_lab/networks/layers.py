"""Layers that several backbones are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class SinusoidalEmbedding(nn.Module):
    """[B] positions to [B, dim]: sines, then cosines, of frequencies from 1 down to 1/10000 (Vaswani et al. 2017).

    Args:
        dim: an even number.
        freq_shift: 1, or 0 for frequencies that end one step before 1/10000.
    """

    def __init__(self, dim: int, freq_shift: int = 1) -> None:
        super().__init__()
        self.frequencies = dim // 2
        self.freq_shift = freq_shift

    def forward(self, position: Tensor) -> Tensor:
        # Made here and not kept as a buffer: a module cast to bfloat16 would cast it too.
        k = torch.arange(self.frequencies, device=position.device, dtype=torch.float32)
        angle = position.float()[:, None] * torch.exp(-k * (math.log(10000) / (self.frequencies - self.freq_shift)))
        return torch.cat([angle.sin(), angle.cos()], dim=1)


def fourier_features(x: Tensor, exponents: Sequence[int]) -> Tensor:
    """Join images [B, C, H, W] and the sines and cosines of 2ⁿ·π times them: [B, C · (1 + 2 · number of n), H, W].

    With n around 7 a network sees differences of a single level of 8 bits, which it needs at the lowest noise, where
    they decide the likelihood (Kingma et al. 2021, VDM, appendix C).
    """
    angles = [2.0**n * math.pi * x.float() for n in exponents]  # bfloat16 is too coarse for a phase
    waves = [wave.to(x.dtype) for angle in angles for wave in (angle.sin(), angle.cos())]
    return torch.cat([x, *waves], dim=1)


def to_patches(x: Tensor, size: int) -> Tensor:
    """Cut images [B, C, S, S] into patches [B, (S/size)², C · size²], row by row."""
    batch, channels, _, side = x.shape
    count = side // size
    cut = x.reshape(batch, channels, count, size, count, size).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(batch, count**2, channels * size**2)


def from_patches(patches: Tensor, size: int) -> Tensor:
    """Put patches [B, (S/size)², C · size²] together to images [B, C, S, S], the inverse of `to_patches`."""
    batch, number, _ = patches.shape
    count = math.isqrt(number)
    cut = patches.reshape(batch, count, count, -1, size, size).permute(0, 3, 1, 4, 2, 5)
    return cut.reshape(batch, -1, count * size, count * size)


def split_heads(query_key_value: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split [B, L, 3 · width] into queries, keys and values, each [B, heads, L, width/heads]."""
    batch, length, _ = query_key_value.shape
    query, key, value = query_key_value.reshape(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    return query, key, value


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return what each position sees [B, L, width], from queries, keys and values [B, heads, L, width/heads].

    `mask` [L, C] bool, for C keys, says which position (row) may look at which (column); None for all at all.
    """
    return nn.functional.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2).flatten(2)


def conv_of_upsampled(x: Tensor, weight: Tensor) -> Tensor:
    """The 3×3 convolution, padded by 1, of x [B, in, H, W] upsampled to its nearest neighbours: [B, out, 2H, 2W].

    A pixel that is repeated need not be multiplied more than once: upsampling is a transposed convolution with
    a 2×2 kernel of ones, and one after the other is a single transposed convolution of stride 2 with a 4×4
    kernel, in 4/9 of the multiplications. `weight` [out, in, 3, 3] is that of the plain convolution.
    """
    spread = nn.functional.pad(weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))  # [in, out, 5, 5]
    kernel = spread[..., :-1, :-1] + spread[..., 1:, :-1] + spread[..., :-1, 1:] + spread[..., 1:, 1:]
    kernel = kernel.contiguous(memory_format=torch.channels_last)  # [in, out, 4, 4]
    return nn.functional.conv_transpose2d(x, kernel, stride=2, padding=1)


def group_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """`norm` of x, rounded once to the dtype of x."""
    if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16):
        # The CPU's kernel computes in float32 as well, but is four times slower where it has to convert.
        weight, bias = norm.weight.float(), norm.bias.float()
        return nn.functional.group_norm(x.float(), norm.num_groups, weight, bias, norm.eps).to(x.dtype)
    return norm(x)


def scaled_group_norm(
    norm: nn.GroupNorm, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
) -> Tensor:
    """`norm` of x [B, C, H, W], times 1 + scale, plus shift, both [B, C], where they are given; in the dtype of x."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        h = group_norm(norm, x)
        return h if scale is None or shift is None else torch.addcmul(_spread(shift), h, 1 + _spread(scale))
    weight, bias = norm.weight.expand(len(x), -1), norm.bias.expand(len(x), -1)
    if scale is not None and shift is not None:
        weight, bias = weight * (1 + scale), torch.addcmul(shift, bias, 1 + scale)
    result: Tensor = _GroupNorm.apply(x, weight, bias, norm.num_groups, norm.eps)
    return result


class _GroupNorm(torch.autograd.Function):
    """Group normalization with a weight and a bias [B, C] for each sample, in few passes over x.

    On the CPU, torch's kernels take several times as long where the channels are innermost. As theirs there, this takes
    the variance from the mean of the squares.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        wide = torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype
        h, weight, bias = x.to(wide), weight.to(wide), bias.to(wide)
        mean = _group_mean(h.mean((2, 3)), groups)  # each [B, C]
        variance = (_group_mean((h * h).mean((2, 3)), groups) - mean * mean).clamp_(min=0)
        inverse = (variance + eps).rsqrt_()
        factor = inverse * weight
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.groups = groups
        return torch.addcmul(_spread(torch.addcmul(bias, mean, factor, value=-1)), h, _spread(factor)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        h, g = x.to(weight.dtype), gradient.to(weight.dtype)
        pixels = x.shape[2] * x.shape[3]
        of_bias = g.sum((2, 3))  # [B, C]
        of_weight = ((g * h).sum((2, 3)) - of_bias * mean) * inverse
        # dx = inverse (weight g − mean(weight g) − normalized mean(weight g normalized)), with means over each group.
        of_normalized = _group_mean(of_weight * weight, ctx.groups) * inverse / pixels
        of_h = -inverse * of_normalized
        rest = mean * inverse * of_normalized - inverse * _group_mean(of_bias * weight, ctx.groups) / pixels
        of_x = torch.addcmul(_spread(rest), h, _spread(of_h)).addcmul_(g, _spread(inverse * weight))
        return of_x.to(x.dtype), of_weight, of_bias, None, None


def _group_mean(values: Tensor, groups: int) -> Tensor:
    """Return the mean over each group of channels of `values` [B, C], for each channel: [B, C]."""
    batch, channels = values.shape
    return values.reshape(batch, groups, -1).mean(2, keepdim=True).expand(-1, -1, channels // groups).flatten(1)


def _spread(values: Tensor) -> Tensor:
    return values[:, :, None, None]


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`conv`, whose kernel is 1×1, of x [B, in, H, W]: a matrix product, whose gradient the CPU has much sooner."""
    weight = conv.weight.permute(0, 2, 3, 1).flatten(1)  # [out, in], its gradient laid out as the weight is
    return nn.functional.linear(x.permute(0, 2, 3, 1), weight, conv.bias).permute(0, 3, 1, 2)
