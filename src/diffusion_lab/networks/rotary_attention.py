"""Attention with rotary positions (Su et al. 2021, RoFormer)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffusion_lab.networks.layers import attend, split_heads

#: How many samples are turned at a time on the CPU: about as many as its cache holds.
_AT_A_TIME = 4

#: Lengths at which torch's CPU kernel of attention takes twice as long in bfloat16 as the products that it is made of.
_BY_PRODUCTS = range(128, 513)


def turned_heads(query_key_value: Tensor, heads: int, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries and keys, turned by the angles of their positions, and values, each [B, heads, L, width/heads].

    Args:
        query_key_value: [B, L, 3 · width].
        heads: number of attention heads.
        turn: [2, L, width/heads/2], cosines and sines of the angles; each turns a pair of values, one of the first half
            of a head and one of the second.
    """
    if query_key_value.device.type != "cpu" or torch.compiler.is_compiling():
        query, key, value = split_heads(query_key_value, heads)
        return _turned(query, turn), _turned(key, turn), value
    turned: tuple[Tensor, Tensor, Tensor] = _TurnedHeads.apply(query_key_value, turn, heads)
    return turned


def attend_turned(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """`attend`, in the way that is fastest: to L positions, or to more that were seen before."""
    eager = query.device.type == "cpu" and not torch.compiler.is_compiling()
    if eager and query.dtype == torch.bfloat16 and query.shape[2] in _BY_PRODUCTS:
        return _attend_by_products(query, key, value, mask)
    return attend(query, key, value, mask)


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """Return x [B, heads, L, head] with each pair of values rotated."""
    (one, other), (cos, sin) = x.chunk(2, dim=-1), turn
    return torch.cat([one * cos - other * sin, one * sin + other * cos], dim=-1)


def _attend_by_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """`attend`, with all scores in memory; queries, keys and values [B, heads, L, head] are contiguous."""
    batch, heads, length, head = query.shape
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    scores = torch.baddbmm(query.new_empty(()), query, key.transpose(1, 2), beta=0, alpha=head**-0.5)
    if mask is not None:
        hidden = query.new_zeros(mask.shape).masked_fill(~mask, -torch.inf)
        scores.add_(hidden)  # without a step of its own in the backward pass
    seen = scores.softmax(-1) @ value
    return seen.view(batch, heads, length, head).transpose(1, 2).flatten(2)


class _TurnedHeads(torch.autograd.Function):
    """`split_heads` of [B, L, 3 · width], then `_turned` of queries and keys: the same bits in a third of the time.

    The values of all heads are multiplied in one row, since rows of half a head are too short for the CPU.
    """

    @staticmethod
    def forward(ctx: Any, query_key_value: Tensor, turn: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        cos, sin = turn
        of_row = (torch.cat(both, dim=1).repeat(1, 2 * heads) for both in ((cos, cos), (-sin, sin)))
        cos, sin = ctx.turn = tuple(of_row)  # each [L, 2 · width]
        batch, length, width = query_key_value.shape
        result = query_key_value.new_empty(3, batch, heads, length, width // 3 // heads)
        for x, out in zip(query_key_value.split(_AT_A_TIME), result.split(_AT_A_TIME, 1), strict=True):
            straight, crossed = _products(x, cos, sin, heads)
            turned = straight.add_(crossed).unflatten(2, (2, heads, -1))
            out[:2].copy_(turned.permute(2, 0, 3, 1, 4))
            out[2].copy_(x[..., -width // 3 :].unflatten(2, (heads, -1)).transpose(1, 2))
        query, key, value = result
        return query, key, value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        batch, heads, length, head = gradients[0].shape
        result = gradients[0].new_empty(batch, length, 3, heads, head)
        for number, gradient in enumerate(gradients):
            result[:, :, number].copy_(gradient.transpose(1, 2))
        cos, sin = ctx.turn
        for x in result.flatten(2).split(_AT_A_TIME):
            straight, crossed = _products(x, cos, -sin, heads)
            torch.add(straight.to(x.dtype), crossed.to(x.dtype), out=x[..., : 2 * heads * head])
        return result.flatten(2), None, None


def _products(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Return queries and keys of x [B, L, 3 · width], times `cos`, and their other halves, times `sin`."""
    halves = x[..., : x.shape[2] // 3 * 2].unflatten(2, (4 * heads, -1))  # of each head
    other = torch.arange(4 * heads) ^ 1
    return halves.flatten(2) * cos, halves.index_select(2, other).flatten(2) * sin
