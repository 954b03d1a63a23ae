"""A convolution over neighbouring tokens, beside attention (So et al. 2021, Primer; Allen-Zhu 2025, Canon layers)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LocalConvolution(nn.Module):
    """Adds to each position a weighted sum of those around it, with weights of its own for each of their values.

    Beyond the ends there are zeros. The weights begin with a variance of 1/size: as much is added as there is.

    Args:
        width: size of a token.
        size: the number of positions that are summed, an odd number: as many before as after, and the one between.

    Raises:
        ValueError: naming the key, if the size is not odd and positive.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(f"network.convolution must be an odd number, or 0 for none, got {size}")
        self.reach = size // 2
        self.weight = nn.Parameter(torch.empty(width, 1, size))
        nn.init.normal_(self.weight, std=size**-0.5)

    def forward(self, tokens: Tensor, before: Tensor | None = None) -> Tensor:
        """Map tokens [B, L, width] to the same shape.

        With `before` [B, N, reach, width], positions are in N blocks: each sees its own block and these positions
        before it, which `before_blocks` finds.
        """
        reach = self.reach
        if before is None:
            return tokens + self._summed(tokens, reach)
        blocks = tokens.unflatten(1, (before.shape[1], -1))
        around = functional.pad(torch.cat([before, blocks], dim=2).flatten(0, 1), (0, 0, 0, reach))
        return tokens + self._summed(around, 0).unflatten(0, blocks.shape[:2]).flatten(1, 2)

    def before_blocks(self, tokens: Tensor, first: int, count: int, block_size: int) -> Tensor:
        """Return the positions of tokens [B, C, width] before each of `count` blocks, the first of which is at `first`.

        These are [B, count, reach, width], zeros where there are none.
        """
        starts = torch.arange(first, first + count * block_size, block_size, device=tokens.device)
        places = starts[:, None] + torch.arange(self.reach, device=tokens.device)
        return functional.pad(tokens, (0, 0, self.reach, 0))[:, places]

    def _summed(self, tokens: Tensor, padding: int) -> Tensor:
        images = tokens[:, :, None].permute(0, 3, 1, 2)  # [B, width, L, 1], with channels last
        weight = self.weight[..., None]
        result = functional.conv2d(images, weight, padding=(padding, 0), groups=len(weight))
        return result.permute(0, 2, 3, 1).flatten(1, 2)
