"""The seam that every backbone fills."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn


class Network(nn.Module):
    """(x [B, *D], c_noise [B] float32, condition [B, …] or None) → raw. It knows nothing about diffusion.

    Sizes that follow from the data and the other parts (`in_channels`, `out_channels`, `image_size`, `num_classes`, …)
    are arguments of the constructor, and filled in at composition.

    Attributes:
        condition: the kind of condition that the network takes; None if it takes none.
        condition_dropout: the share of training samples whose label is replaced by the null label K, the number of
            classes, so that the network learns to do without one (classifier-free guidance, Ho & Salimans 2022).
    """

    condition: ClassVar[Literal["label"] | None] = None
    condition_dropout: float = 0.0
