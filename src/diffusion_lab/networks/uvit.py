"""U-ViT, a transformer with the skips of a U-Net (Bao et al. 2023, All are Worth Words)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffusion_lab.networks.base import LabelledNetwork, check_patches, hidden_values
from diffusion_lab.networks.layers import SinusoidalEmbedding, attend, from_patches, split_heads, to_patches


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
        check_patches(patch_size, image_size)
        if width < 4 or width % 2 or heads < 1 or width % heads:
            raise ValueError(
                f"network.width must be a multiple of 2 and of network.heads={heads}, and at least 4, got {width}"
            )
        if depth < 1 or depth % 2 == 0:
            raise ValueError(f"network.depth must be odd, for as many blocks before the middle as after, got {depth}")
        hidden = hidden_values(mlp_ratio, width)
        self.patch_size = patch_size
        patches = (image_size // patch_size) ** 2
        self.told = 2 if labels else 1
        self.patches = nn.Linear(in_channels * patch_size**2, width)
        self.time = SinusoidalEmbedding(width)
        self.positions = nn.Parameter(torch.empty(self.told + patches, width))
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
        patches = to_patches(x, self.patch_size)
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
        return self.out(from_patches(pixels, self.patch_size))


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
        seen = attend(*split_heads(self.query_key_value(self.norm_1(tokens)), self.heads))
        tokens = tokens + self.attended(seen)
        return tokens + self.mlp(self.norm_2(tokens))
