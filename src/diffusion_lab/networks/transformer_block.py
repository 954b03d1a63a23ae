"""The block that the transformers have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffusion_lab.networks.layers import attend, split_heads
from diffusion_lab.networks.rotary_attention import attend_turned, turned_heads
from diffusion_lab.networks.row_layers import RowRMSNorm


@dataclass
class Seen:
    """Keys and values [B, heads, C, width/heads] of the C positions before those that a block is given; None for none.

    A block that is given it sees these positions, too, and adds its own to them.
    """

    key: Tensor | None = None
    value: Tensor | None = None

    @property
    def count(self) -> int:
        """C."""
        return 0 if self.key is None else self.key.shape[2]

    def joined(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of all positions, and keep them."""
        if self.key is not None and self.value is not None:
            key, value = torch.cat([self.key, key], dim=2), torch.cat([self.value, value], dim=2)
        self.key, self.value = key, value
        return key, value

    def part(self, rows: Tensor | slice, count: int) -> Seen:
        """Return the first `count` positions of these rows of the batch."""
        if self.key is None or self.value is None or count == 0:
            return Seen()
        return Seen(self.key[rows, :, :count], self.value[rows, :, :count])

    def copy(self) -> Seen:
        """Return a copy, in memory of its own."""
        return Seen(*(None if x is None else x.clone() for x in (self.key, self.value)))


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each added to the tokens after a norm; `modulated` by what is told (adaLN).

    Where it is modulated, what is told scales and shifts after each norm, and is a gate before each addition. Where it
    is not, each norm has weights of its own.

    Args:
        width: size of a token.
        heads: number of attention heads.
        hidden: hidden size of the perceptron.
        dropout: the share of what is added that is dropped while training.
        norm: ``layer``, or ``rms``, which does not subtract the mean (Zhang & Sennrich 2019).
        mlp: ``gelu``, or ``swiglu``, whose hidden values are gated (Shazeer 2020), with as many parameters.
        modulated: whether something is told.
        linear: the kind of its linear layers.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        dropout: float,
        norm: str = "layer",
        mlp: str = "gelu",
        modulated: bool = True,
        linear: type[nn.Linear] = nn.Linear,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        if modulated:
            self.norm = plain_norm(norm, width)
            self.modulation = nn.Linear(width, 6 * width)
        else:
            self.norm_1, self.norm_2 = (weighted_norm(norm, width) for _ in range(2))
        self.query_key_value = linear(width, 3 * width)
        self.attended = linear(width, width)
        self.mlp: nn.Module
        if mlp == "swiglu":
            self.mlp = SwiGLU(width, max(1, round(hidden * 2 / 3)), linear)
        else:
            self.mlp = nn.Sequential(linear(width, hidden), nn.GELU("tanh"), linear(hidden, width))

    def forward(
        self,
        tokens: Tensor,
        told: Tensor | None,
        turn: Tensor | None = None,
        mask: Tensor | None = None,
        seen: Seen | None = None,
    ) -> Tensor:
        """Map tokens [B, L, width] and what is told of time and label [B, width] (or None) to tokens [B, L, width].

        `turn` [2, L, width/heads/2] has the cosines and sines of rotary positions, and `mask` [L, C + L] says which
        position may look at which, after the C positions of `seen`; None without.
        """
        if told is None:
            tokens = tokens + self._dropped(self._attention(self.norm_1(tokens), turn, mask, seen))
            return tokens + self._dropped(self.mlp(self.norm_2(tokens)))
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(told)[:, None].chunk(6, dim=-1)
        attended = self._attention(torch.addcmul(shift_1, self.norm(tokens), 1 + scale_1), turn, mask, seen)
        tokens = torch.addcmul(tokens, gate_1, self._dropped(attended))
        hidden = self.mlp(torch.addcmul(shift_2, self.norm(tokens), 1 + scale_2))
        return torch.addcmul(tokens, gate_2, self._dropped(hidden))

    def look(self, tokens: Tensor, told: Tensor | None, turn: Tensor | None, seen: Seen) -> None:
        """Add the keys and values of tokens to those that were seen, and compute nothing else; see `forward`."""
        if told is None:
            tokens = self.norm_1(tokens)
        else:
            shift, scale = self.modulation(told)[:, None].chunk(6, dim=-1)[:2]
            tokens = torch.addcmul(shift, self.norm(tokens), 1 + scale)
        self._heads(tokens, turn, seen)

    def _heads(self, tokens: Tensor, turn: Tensor | None, seen: Seen | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries [B, heads, L, width/heads], and keys and values after those that were seen."""
        query_key_value = self.query_key_value(tokens)
        if turn is None:
            query, key, value = split_heads(query_key_value, self.heads)
        else:
            query, key, value = turned_heads(query_key_value, self.heads, turn)
        if seen is not None:
            key, value = seen.joined(key, value)
        return query, key, value

    def _attention(self, tokens: Tensor, turn: Tensor | None, mask: Tensor | None, seen: Seen | None) -> Tensor:
        heads = self._heads(tokens, turn, seen)
        return self.attended(attend(*heads, mask) if turn is None else attend_turned(*heads, mask))

    def _dropped(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training) if self.dropout else x


class SwiGLU(nn.Module):
    """A perceptron whose hidden values are multiplied by the SiLU of as many others (Shazeer 2020).

    Args:
        width: size of a token.
        hidden: number of hidden values after the gate.
        linear: the kind of its linear layers.
    """

    def __init__(self, width: int, hidden: int, linear: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        self.gate_and_hidden = linear(width, 2 * hidden)
        self.out = linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, L, width] to the same shape."""
        gate, hidden = self.gate_and_hidden(tokens).chunk(2, dim=-1)
        return self.out(nn.functional.silu(gate) * hidden)


def plain_norm(kind: str, width: int) -> nn.Module:
    """Return a norm without weights: ``layer`` or ``rms``."""
    norm = nn.RMSNorm if kind == "rms" else nn.LayerNorm
    return norm(width, elementwise_affine=False, eps=1e-6)


def weighted_norm(kind: str, width: int) -> nn.Module:
    """Return a norm with weights: ``layer`` or ``rms``."""
    return RowRMSNorm(width, eps=1e-6) if kind == "rms" else nn.LayerNorm(width, eps=1e-6)
