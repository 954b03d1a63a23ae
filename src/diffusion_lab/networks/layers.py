"""Layers that several backbones are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SinusoidalEmbedding(nn.Module):
    """[B] positions to [B, dim]: sines, then cosines, of frequencies from 1 down to 1/10000 (Vaswani et al. 2017)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.frequencies = dim // 2

    def forward(self, position: Tensor) -> Tensor:
        # Made here and not kept as a buffer: a module cast to bfloat16 would cast it too.
        k = torch.arange(self.frequencies, device=position.device, dtype=torch.float32)
        angle = position.float()[:, None] * torch.exp(-k * (math.log(10000) / (self.frequencies - 1)))
        return torch.cat([angle.sin(), angle.cos()], dim=1)


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
