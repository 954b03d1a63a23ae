"""The block that the transformers have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from diffusion_lab.networks.layers import attend, split_heads
from diffusion_lab.networks.local_convolution import LocalConvolution
from diffusion_lab.networks.rotary_attention import attend_turned, turned_heads
from diffusion_lab.networks.row_layers import RowRMSNorm

#: Shift, scale and gate, each [B, 1, width].
_Modulation: TypeAlias = tuple[Tensor, Tensor, Tensor]


@dataclass
class Seen:
    """The results of a block for the C positions before those that it is given; it adds its own to them.

    Attributes:
        key, value: [B, heads, C, width/heads], at which a position may look; None for none.
        inputs: [B, C, width], those of the convolution before attention (0) and of that before the perceptron (1).
    """

    key: Tensor | None = None
    value: Tensor | None = None
    inputs: dict[int, Tensor] = field(default_factory=dict)

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

    def around(self, place: int, inputs: Tensor, first: int) -> Tensor:
        """Return a convolution's inputs of all positions, of which `inputs` begin at `first`, and keep them.

        Where more positions were seen than lie before them, inputs are those of a noisy copy: it sees the clean ones.
        """
        seen = self.inputs.get(place)
        if seen is not None and seen.shape[1] > first:
            return seen
        self.inputs[place] = inputs if seen is None else torch.cat([seen, inputs], dim=1)
        return self.inputs[place]

    def part(self, rows: Tensor | slice, count: int) -> Seen:
        """Return the first `count` positions of these rows of the batch."""
        if self.key is None or self.value is None or count == 0:
            return Seen()
        inputs = {place: x[rows, :count] for place, x in self.inputs.items()}
        return Seen(self.key[rows, :, :count], self.value[rows, :, :count], inputs)

    def copy(self) -> Seen:
        """Return a copy, in memory of its own."""
        key, value = (None if x is None else x.clone() for x in (self.key, self.value))
        return Seen(key, value, {place: x.clone() for place, x in self.inputs.items()})


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each added to the tokens after a norm; modulated by what is told (adaLN).

    Where it is modulated, what is told scales and shifts after each norm, and is a gate before each addition. Where it
    is not, each norm has weights of its own.

    Args:
        width: size of a token.
        heads: number of attention heads.
        hidden: hidden size of the perceptron.
        dropout: the share of what is added that is dropped while training.
        norm: ``layer``, or ``rms``, which does not subtract the mean (Zhang & Sennrich 2019).
        mlp: ``gelu``, or ``swiglu``, whose hidden values are gated (Shazeer 2020), with as many parameters.
        condition_width: size of what is told of time and label; None for a block that is told nothing.
        linear: the kind of its linear layers.
        convolution: the size of the `LocalConvolution` of the inputs of attention and of the perceptron; 0 for none.
        block_size: see `Network`; needed with a convolution alone.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        dropout: float,
        norm: str = "layer",
        mlp: str = "gelu",
        condition_width: int | None = None,
        linear: type[nn.Linear] = nn.Linear,
        convolution: int = 0,
        block_size: int | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.block_size = block_size
        self.convolves = convolution != 0
        if convolution:
            self.convolution_1, self.convolution_2 = (LocalConvolution(width, convolution) for _ in range(2))
        if condition_width:
            self.norm = plain_norm(norm, width)
            self.modulation = nn.Linear(condition_width, 6 * width)
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
        first: int = 0,
    ) -> Tensor:
        """Map tokens [B, L, width] and what is told [B, condition_width] (or None) to tokens [B, L, width].

        `turn` [2, L, width/heads/2] has the cosines and sines of rotary positions, and `mask` [L, C + L] says which
        position may look at which, after the C positions of `seen`; None without. `first` is the position of the first.
        """
        modulation_1, modulation_2 = self._modulations(told)
        inputs = self._inputs(0, tokens, modulation_1, seen, first)
        tokens = self._added(tokens, self._attention(inputs, turn, mask, seen), modulation_1)
        inputs = self._inputs(1, tokens, modulation_2, seen, first)
        return self._added(tokens, self.mlp(inputs), modulation_2)

    def look(self, tokens: Tensor, told: Tensor | None, turn: Tensor | None, mask: Tensor | None, seen: Seen) -> None:
        """Add what it computes of tokens, as the first positions, to what was seen, and nothing else; see `forward`."""
        modulation_1, modulation_2 = self._modulations(told)
        inputs = self._inputs(0, tokens, modulation_1, seen, 0)
        if not self.convolves:
            self._heads(inputs, turn, seen)
            return
        tokens = self._added(tokens, self._attention(inputs, turn, mask, seen), modulation_1)
        self._inputs(1, tokens, modulation_2, seen, 0)

    def _modulations(self, told: Tensor | None) -> tuple[_Modulation | None, _Modulation | None]:
        """Return the shift, scale and gate [B, 1, width] of attention, and of the perceptron, if something is told."""
        if told is None:
            return None, None
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(told)[:, None].chunk(6, dim=-1)
        return (shift_1, scale_1, gate_1), (shift_2, scale_2, gate_2)

    def _inputs(
        self, place: int, tokens: Tensor, modulation: _Modulation | None, seen: Seen | None, first: int
    ) -> Tensor:
        """Return the inputs of attention (place 0) or of the perceptron (1), as `forward` has the other arguments."""
        if modulation is None:
            inputs = (self.norm_1, self.norm_2)[place](tokens)
        else:
            shift, scale, _ = modulation
            inputs = torch.addcmul(shift, self.norm(tokens), 1 + scale)
        if not self.convolves:
            return inputs
        convolution = (self.convolution_1, self.convolution_2)[place]
        if self.block_size is None:
            return convolution(inputs)
        around = inputs if seen is None else seen.around(place, inputs, first)
        count = inputs.shape[1] // self.block_size
        return convolution(inputs, convolution.before_blocks(around, first, count, self.block_size))

    def _added(self, tokens: Tensor, result: Tensor, modulation: _Modulation | None) -> Tensor:
        """Return tokens with the result of attention or of the perceptron."""
        if self.dropout:
            result = nn.functional.dropout(result, self.dropout, self.training)
        return tokens + result if modulation is None else torch.addcmul(tokens, modulation[2], result)

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
