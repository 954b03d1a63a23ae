"""The transformer of discrete diffusion (Vaswani et al. 2017; Sahoo et al. 2024, MDLM, appendix C).

With blocks it is that of block diffusion (Arriola et al. 2025, BD3LM, section 3.2).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from diffusion_lab.networks.base import LabelledNetwork, check_share, hidden_values
from diffusion_lab.networks.layers import SinusoidalEmbedding
from diffusion_lab.networks.row_layers import RowLinear
from diffusion_lab.networks.transformer_block import Seen, TransformerBlock, plain_norm, weighted_norm

#: Size of the sinusoidal embedding of the time.
_TIME_FREQUENCIES = 256

#: Rotary positions: nearly the longest wave, in tokens, divided by 2π (Su et al. 2021, RoFormer).
_LONGEST_WAVE = 10_000.0


class TextTransformer(LabelledNetwork):
    """A transformer over tokens, in which every position looks at every other, with rotary positions.

    With blocks, a position looks at those of its own block and of the blocks before it. What it predicts of a block is
    then the same whatever comes after it, for any number of blocks.

    Args:
        num_states: how many values a position of its input may have; filled in from the process. None for positions
            that hold vectors.
        num_outputs: how many values it puts out for each position; filled in from the parameterization. None for as
            many as a vector has.
        num_classes: filled in from the data.
        code_dim: size of the vectors that positions hold; filled in from the codec. None for tokens.
        length: L, the number of positions in training; filled in from the data.
        width: size of a token, a multiple of twice `heads`.
        depth: number of transformer blocks.
        heads: number of attention heads.
        mlp_ratio: hidden size of each block's perceptron, as a multiple of `width`.
        dropout: the share of what each block adds that is dropped while training, from 0 to below 1.
        norm: ``layer``, or ``rms``, which does not subtract the mean (Zhang & Sennrich 2019).
        mlp: ``gelu``, or ``swiglu``, whose hidden values are gated (Shazeer 2020), with as many parameters: two thirds
            of the hidden size.
        convolution: how many neighbouring positions are summed, with weights of their own, before attention and before
            each perceptron (`LocalConvolution`): an odd number, or 0 for none.
        time: whether it is told the time, which then modulates each block (adaLN-Zero; Peebles & Xie 2023). A masked
            state shows its own time nearly, by how much of it is masked.
        condition_width: size of the embedding of time and label, from which the modulations are computed; None for
            `width`. They take 6·width·condition_width weights of each block (SEDD and MDLM: 128, of a width of 768).
        labels, condition_dropout: see `LabelledNetwork`; labels modulate each block as well.
        block_size: see `Network`; it divides L, and goes without a time, of which each block has its own.

    Attributes:
        told: size of what modulates the blocks; None without anything.

    Raises:
        ValueError: naming the key, if the sizes do not fit together.
    """

    def __init__(
        self,
        num_states: int | None = None,
        num_outputs: int | None = None,
        num_classes: int | None = None,
        code_dim: int | None = None,
        length: int | None = None,
        width: int = 128,
        depth: int = 5,
        heads: int = 4,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        norm: Literal["layer", "rms"] = "rms",
        mlp: Literal["gelu", "swiglu"] = "gelu",
        convolution: int = 0,
        time: bool = False,
        condition_width: int | None = None,
        labels: bool = False,
        condition_dropout: float = 0.1,
        block_size: int | None = None,
    ) -> None:
        if condition_width is None:
            condition_width = width
        elif not (time or labels):
            raise ValueError("network.condition_width goes with network.time=true or network.labels=true")
        elif condition_width < 1:
            raise ValueError(f"network.condition_width must be 1 or more, got {condition_width}")
        super().__init__(labels, num_classes, condition_dropout, condition_width)
        check_share("network.dropout", dropout)
        if heads < 1 or width < 1 or width % (2 * heads):
            raise ValueError(f"network.width must be a multiple of twice network.heads={heads}, got {width}")
        if depth < 1:
            raise ValueError(f"network.depth must be 1 or more, got {depth}")
        values = num_outputs or code_dim
        if not values or bool(num_states) == bool(code_dim):
            raise ValueError(
                "network=text_transformer needs a process of tokens (process=absorbing or uniform), or vectors "
                "of tokens (codec=embedding with process=gaussian)"
            )
        if block_size is not None:
            _check_blocks(block_size, length, time)
        hidden = hidden_values(mlp_ratio, width)
        self.block_size = block_size
        self.takes_time = time
        self.told = condition_width if time or labels else None
        self.head = width // heads
        self.tokens: nn.Module = nn.Embedding(num_states, width) if num_states else nn.Linear(values, width)
        if time:
            self.time = SinusoidalEmbedding(_TIME_FREQUENCIES)
            self.time_embedding = nn.Sequential(
                nn.Linear(_TIME_FREQUENCIES, condition_width), nn.SiLU(), nn.Linear(condition_width, condition_width)
            )
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, hidden, dropout, norm, mlp, self.told, RowLinear, convolution, block_size)
            for _ in range(depth)
        )
        self.norm = plain_norm(norm, width) if self.told else weighted_norm(norm, width)
        if self.told:
            self.modulation = nn.Linear(self.told, 2 * width)
        self.out = RowLinear(width, values)
        self._initialize(width, depth)

    def _initialize(self, width: int, depth: int) -> None:
        """Tokens of variance 1, matrices of 1/inputs, less where a branch ends; modulations and the last layer 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)
        for name, parameter in self.named_parameters():
            if name.endswith(("attended.weight", "mlp.2.weight", "mlp.out.weight")):
                nn.init.normal_(parameter, std=width**-0.5 / (2 * depth) ** 0.5)
            elif "modulation" in name or name == "out.weight":
                nn.init.zeros_(parameter)

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        condition: Tensor | None = None,
        clean: Tensor | None = None,
        seen: list[Seen] | None = None,
    ) -> Tensor:
        """Map states x, c_noise [B] and labels [B] int64 (None without) to raw [B, L, num_outputs].

        States are [B, L] int64; of vectors, [B, L, code_dim], as are the outputs.

        `clean` [B, L] int64 and `seen`, of which one goes without the other, are for blocks: see `Network`. An empty
        list stands for no positions before x; in the end it has an entry for each transformer block.
        """
        tokens = self.tokens(x)  # [B, L, width]
        told = self._told(tokens, c_noise, condition)
        mask: Tensor | None
        if clean is not None:
            before, seen = 0, self._seen(clean, told)
            mask = _sees_clean(self.block_size, x)
        else:
            if seen is not None and not seen:
                seen += [Seen() for _ in self.blocks]
            before = seen[0].count if seen else 0
            mask = _sees(self.block_size, before, x)
        turn = _turn(self.head, tokens, before)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, told, turn, mask, seen[number] if seen else None, before)
        tokens = self.norm(tokens)
        if told is not None:
            shift, scale = self.modulation(told)[:, None].chunk(2, dim=-1)
            tokens = torch.addcmul(shift, tokens, 1 + scale)
        return self.out(tokens)

    def _seen(self, clean: Tensor, told: Tensor | None) -> list[Seen]:
        """Return what each transformer block saw of clean sequences [B, L]."""
        seen = [Seen() for _ in self.blocks]
        tokens = self.tokens(clean)
        turn, mask = _turn(self.head, tokens), _sees(self.block_size, 0, clean)
        *blocks, last = zip(self.blocks, seen, strict=True)
        for block, part in blocks:
            tokens = block(tokens, told, turn, mask, part)
        last[0].look(tokens, told, turn, mask, last[1])  # type: ignore[operator]  # its result is not needed
        return seen

    def _told(self, tokens: Tensor, c_noise: Tensor, condition: Tensor | None) -> Tensor | None:
        """Return what modulates the blocks, [B, told] in the dtype of the tokens; None without anything."""
        if not self.told:
            if condition is not None:
                raise ValueError("the network takes labels only with network.labels=true")
            return None
        told = tokens.new_zeros(len(tokens), self.told)
        if self.takes_time:
            told = self.time_embedding(self.time(c_noise).to(tokens.dtype))
        return nn.functional.silu(self.with_label(told, condition))


def _check_blocks(block_size: int, length: int | None, time: bool) -> None:
    """Raise ValueError, naming the key, if sequences of this length have no such blocks, or a time is told."""
    if block_size < 1 or (length is not None and length % block_size):
        raise ValueError(f"network.block_size must divide the length {length}, got {block_size}")
    if time:
        raise ValueError("network.block_size goes with network.time=false: each block has a time of its own")


def _sees(block_size: int | None, before: int, x: Tensor) -> Tensor | None:
    """Return which of `before` positions, and after those of x [B, L], each of x may look at: [L, before + L] bool.

    None stands for all, where there is but one block.
    """
    count = before + x.shape[1]
    if block_size is None or before // block_size == (count - 1) // block_size:
        return None
    block = torch.arange(count, device=x.device) // block_size
    return block[before:, None] >= block


def _sees_clean(block_size: int | None, x: Tensor) -> Tensor:
    """Return which clean position and, after those, which of its own kind each of x [B, L] may look at: [L, 2L] bool.

    These are the blocks before, and its own block: the rows of the noisy copy in BD3LM's mask (section 3.2).
    """
    assert block_size is not None
    block = torch.arange(x.shape[1], device=x.device) // block_size
    return torch.cat([block[:, None] > block, block[:, None] == block], dim=1)


def _turn(head: int, tokens: Tensor, first: int = 0) -> Tensor:
    """Return cosines and sines of each position's angles: [2, L, head/2], in the dtype of the tokens [B, L, width]."""
    place = torch.arange(first, first + tokens.shape[1], device=tokens.device, dtype=torch.float32)
    k = torch.arange(head // 2, device=tokens.device, dtype=torch.float32)
    angles = place[:, None] * _LONGEST_WAVE ** (-k * (2 / head))
    return torch.stack([angles.cos(), angles.sin()]).to(tokens.dtype)
