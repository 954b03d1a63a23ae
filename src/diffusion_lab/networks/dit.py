"""The diffusion transformer, DiT with adaLN-Zero (Peebles & Xie 2023)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from diffusion_lab.networks.base import LabelledNetwork, check_patches, check_share, hidden_values
from diffusion_lab.networks.layers import SinusoidalEmbedding, from_patches, to_patches
from diffusion_lab.networks.transformer_block import TransformerBlock, plain_norm

#: Size of the sinusoidal embedding of the time.
_TIME_FREQUENCIES = 256

#: Rotary positions: nearly the longest wave, in patches, divided by 2π. Text, with longer sequences, has 10,000.
_LONGEST_WAVE = 100.0


class DiT(LabelledNetwork):
    """A transformer over patches of the image, each of whose blocks is modulated by the time and the label.

    The modulation of each block, that of the last layer and the last layer itself start at zero: at first a block is
    the identity and the raw output 0.

    Args:
        in_channels, out_channels, image_size, num_classes: filled in from the data and the parameterization.
        patch_size: side of a patch; it divides the image size.
        width: size of a token, a multiple of 4 and of `heads`, at least 8.
        depth: number of blocks.
        heads: number of attention heads.
        mlp_ratio: hidden size of each block's perceptron, as a multiple of `width`.
        dropout: the share of what each block adds that is dropped while training, from 0 to below 1.
        norm: ``layer``, or ``rms``, which does not subtract the mean (Zhang & Sennrich 2019).
        mlp: ``gelu``, or ``swiglu``, whose hidden values are gated (Shazeer 2020), with as many parameters: two thirds
            of the hidden size.
        positions: ``sinusoidal``, added to the patches, or ``rotary``: each block turns queries and keys by angles that
            follow from the row and the column, so that attention sees how far apart two patches are (Su et al. 2021).
            The width of a head is then a multiple of 4. With ``sinusoidal_2d`` they are added as in the authors' code,
            whose frequencies end one step before 1/10000, and whose columns come before rows.
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
        patch_size: int = 4,
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        norm: Literal["layer", "rms"] = "layer",
        mlp: Literal["gelu", "swiglu"] = "gelu",
        positions: Literal["sinusoidal", "sinusoidal_2d", "rotary"] = "sinusoidal",
        labels: bool = False,
        condition_dropout: float = 0.1,
    ) -> None:
        super().__init__(labels, num_classes, condition_dropout, width)
        check_share("network.dropout", dropout)
        check_patches(patch_size, image_size)
        if width < 8 or width % 4 or heads < 1 or width % heads:
            raise ValueError(
                f"network.width must be a multiple of 4 and of network.heads={heads}, and at least 8, got {width}"
            )
        if depth < 1:
            raise ValueError(f"network.depth must be 1 or more, got {depth}")
        hidden = hidden_values(mlp_ratio, width)
        if positions == "rotary" and width // heads % 4:
            raise ValueError(
                "network.positions=rotary needs network.width / network.heads to be a multiple of 4, got "
                f"{width // heads}"
            )
        if labels:
            nn.init.normal_(self.label_embedding.weight, std=0.02)
        self.patch_size = patch_size
        self.side = image_size // patch_size
        self.patches = nn.Linear(in_channels * patch_size**2, width)
        self.turned = width // heads if positions == "rotary" else None
        self.columns_first = positions == "sinusoidal_2d"
        self.position = SinusoidalEmbedding(width // 2, freq_shift=0 if self.columns_first else 1)
        self.time = SinusoidalEmbedding(_TIME_FREQUENCIES)
        self.time_embedding = nn.Sequential(nn.Linear(_TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, hidden, dropout, norm, mlp, width) for _ in range(depth)
        )
        self.norm = plain_norm(norm, width)
        self.modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, out_channels * patch_size**2)
        linear = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        asleep = [self.modulation, self.out, *(block.modulation for block in self.blocks)]
        for layer in linear:
            nn.init.zeros_(layer.bias)
            if layer in asleep:
                nn.init.zeros_(layer.weight)
            elif layer in list(self.time_embedding):
                nn.init.normal_(layer.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map x [B, in, H, W], c_noise [B] and labels [B] int64 (None without) to raw [B, out, H, W]."""
        told = self.time_embedding(self.time(c_noise).to(x.dtype))  # [B, width]
        told = self.with_label(told, condition)
        told = nn.functional.silu(told)
        tokens, turn = self.patches(to_patches(x, self.patch_size)), None  # [B, side², width]
        if self.turned:
            turn = self._turn(self.turned, x)
        else:
            tokens = tokens + self._positions(x)
        for block in self.blocks:
            tokens = block(tokens, told, turn)
        shift, scale = self.modulation(told)[:, None].chunk(2, dim=-1)
        raw = self.out(torch.addcmul(shift, self.norm(tokens), 1 + scale))  # [B, side², out · p²]
        return from_patches(raw, self.patch_size)

    def _positions(self, like: Tensor) -> Tensor:
        """Return the embedding of each patch's row and column: [side², width], in the dtype of `like`."""
        of_one = self.position(torch.arange(self.side, device=like.device))  # [side, width/2]
        rows, columns = of_one.repeat_interleave(self.side, 0), of_one.repeat(self.side, 1)
        return torch.cat([columns, rows] if self.columns_first else [rows, columns], dim=1).to(like.dtype)

    def _turn(self, head: int, like: Tensor) -> Tensor:
        """Return cosines and sines of each patch's angles: [2, side², head/2], in the dtype of `like`.

        The first half of the angles follows from the row and the second from the column.
        """
        place = torch.arange(self.side, device=like.device, dtype=torch.float32)
        k = torch.arange(head // 4, device=like.device, dtype=torch.float32)
        of_one = place[:, None] * _LONGEST_WAVE ** (-k * (4 / head))  # [side, head/4]
        angles = torch.cat([of_one.repeat_interleave(self.side, 0), of_one.repeat(self.side, 1)], dim=1)
        return torch.stack([angles.cos(), angles.sin()]).to(like.dtype)
