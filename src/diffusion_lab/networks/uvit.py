"""U-ViT, a transformer with the skips of a U-Net (Bao et al. 2023, All are Worth Words)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffusion_lab.networks.base import LabelledNetwork
from diffusion_lab.networks.layers import SinusoidalEmbedding


class UViT(LabelledNetwork):
    """A transformer whose tokens are the time, the label and the patches of the image.

    Each block of the second half starts from a linear map of its tokens concatenated with those that its mirror image
    in the first half put out: the last block with the first's, and so on. Positions are learned. A 3×3 convolution over
    the whole image comes last, against edges between patches.

    The convolution starts as the identity and the layer before it at zero, and with that the raw output. In the paper
    both start at random; but the random filter of a single channel is a blur, which the network first has to unlearn.

    Args:
        in_channels, out_channels, image_size, num_classes: filled in from the data and the parameterization.
        patch_size: side of a patch; it divides the image size.
        width: size of a token, a multiple of 2 and of `heads`, at least 4.
        depth: number of blocks, an odd one: those of each half, and one between.
        heads: number of attention heads.
        mlp_ratio: hidden size of each block's perceptron, as a multiple of `width`.
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
        depth: int = 7,
        heads: int = 3,
        mlp_ratio: float = 4.0,
        labels: bool = False,
        condition_dropout: float = 0.1,
    ) -> None:
        super().__init__(labels, num_classes, condition_dropout, width)
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(f"network.patch_size must divide data.image_size={image_size}, got {patch_size}")
        if width < 4 or width % 2 or heads < 1 or width % heads:
            raise ValueError(
                f"network.width must be a multiple of 2 and of network.heads={heads}, and at least 4, got {width}"
            )
        if depth < 1 or depth % 2 == 0:
            raise ValueError(f"network.depth must be odd, for as many blocks before the middle as after, got {depth}")
        hidden = int(mlp_ratio * width)
        if hidden < 1:
            raise ValueError(f"network.mlp_ratio={mlp_ratio} leaves no hidden values: take a larger one")
        self.patch_size = patch_size
        self.side = image_size // patch_size
        self.told = 2 if labels else 1
        self.patches = nn.Linear(in_channels * patch_size**2, width)
        self.time = SinusoidalEmbedding(width)
        self.positions = nn.Parameter(torch.empty(self.told + self.side**2, width))
        self.down = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth // 2))
        self.middle = Block(width, heads, hidden)
        self.joined = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(depth // 2))
        self.up = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth // 2))
        self.norm = nn.LayerNorm(width)
        self.pixels = nn.Linear(width, out_channels * patch_size**2)
        self.out = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        nn.init.trunc_normal_(self.positions, std=0.02)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if labels:
            nn.init.normal_(self.label_embedding.weight, std=0.02)
        nn.init.zeros_(self.pixels.weight)
        nn.init.dirac_(self.out.weight)

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map x [B, in, H, W], c_noise [B] and labels [B] int64 (None without) to raw [B, out, H, W]."""
        time = self.time(c_noise).to(x.dtype)  # [B, width]
        label = self.with_label(torch.zeros_like(time), condition)  # [B, width]; 0 without labels, and then left out
        batch, channels, _, _ = x.shape
        p, side = self.patch_size, self.side
        patches = x.reshape(batch, channels, side, p, side, p).permute(0, 2, 4, 1, 3, 5).reshape(batch, side**2, -1)
        told = torch.stack([time, label], dim=1)[:, : self.told]
        tokens = torch.cat([told, self.patches(patches)], dim=1) + self.positions  # [B, told + side², width]
        skips = []
        for block in self.down:
            tokens = block(tokens)
            skips.append(tokens)
        tokens = self.middle(tokens)
        for joined, block in zip(self.joined, self.up, strict=True):
            tokens = block(joined(torch.cat([tokens, skips.pop()], dim=-1)))
        pixels = self.pixels(self.norm(tokens[:, self.told :]))  # [B, side², out · p²]
        pixels = pixels.reshape(batch, side, side, -1, p, p).permute(0, 3, 1, 4, 2, 5)
        return self.out(pixels.reshape(batch, -1, side * p, side * p))


class Block(nn.Module):
    """Norm → attention, then norm → perceptron, each added to the tokens.

    Args:
        width: size of a token.
        heads: number of attention heads.
        hidden: hidden size of the perceptron.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, L, width] to the same shape."""
        batch, length, width = tokens.shape
        split = self.query_key_value(self.norm_1(tokens)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [B, heads, L, width/heads]
        seen = nn.functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.attended(seen.transpose(1, 2).reshape(batch, length, width))
        return tokens + self.mlp(self.norm_2(tokens))
