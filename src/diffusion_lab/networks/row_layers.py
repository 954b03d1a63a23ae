"""Layers of rows of values, computed on the CPU by the kernels that are fastest there.

They have the parameters of torch's layers, and their results up to rounding. On other devices, in other dtypes than
float32 and where they are compiled, they are torch's layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class RowLinear(nn.Linear):
    """`nn.Linear` of x [B, L, in]: on the CPU a 1×1 convolution, whose kernel is faster than a product's."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or torch.is_autocast_enabled("cpu") or not _plain_float32(x):
            return super().forward(x)
        result: Tensor = _Linear.apply(x, self.weight, self.bias)
        return result


class RowRMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` with weights, of the last dimension: in fewer passes on the CPU, most of all in its gradient."""

    def forward(self, x: Tensor) -> Tensor:
        if not _plain_float32(x):
            return super().forward(x)
        result: Tensor = _RMSNorm.apply(x, self.weight, self.eps)
        return result


def _plain_float32(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x [B, L, in] times the transpose of `weight` [out, in], plus the bias: [B, L, out]."""
    images = x[:, :, None].permute(0, 3, 1, 2)  # [B, in, L, 1], with channels last
    result = nn.functional.conv2d(images, weight[:, :, None, None], bias)
    return result.permute(0, 2, 3, 1).flatten(1, 2)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x.contiguous(), weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows = gradient.flatten(0, 1)
        of_x = _product(gradient.contiguous(), weight.t()) if ctx.needs_input_grad[0] else None
        return of_x, rows.t() @ x.flatten(0, 1), rows.sum(0) if ctx.needs_input_grad[2] else None


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        inverse = square.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, inverse = ctx.saved_tensors
        # That of layer normalization with a mean of 0, without the term by which the mean follows x.
        of_x, of_weight, _ = torch.ops.aten.native_layer_norm_backward(
            gradient, x, weight.shape, torch.zeros_like(inverse), inverse, weight, None, [True, True, False]
        )
        mean = torch.linalg.vecdot(gradient, weight)[..., None].div_(len(weight))
        return of_x.addcmul_(inverse, mean), of_weight, None
