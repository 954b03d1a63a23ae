"""The seam that every backbone fills."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn


class Network(nn.Module):
    """(x [B, *D], c_noise [B] float32, condition [B, …] or None) → raw. It knows nothing about diffusion.

    Sizes that follow from the data and the other parts (`in_channels`, `out_channels`, `image_size`, `num_classes`, …)
    are arguments of the constructor, and filled in at composition.

    Attributes:
        condition: the kind of condition that the network takes; None if it takes none.
        condition_dropout: the share of training samples whose label is replaced by the null label K, the number of
            classes, so that the network learns to do without one (classifier-free guidance, Ho & Salimans 2022).
        takes_time: whether its output depends on `c_noise`. Where it does not, samplers ask it once for a state.
        block_size: the number of positions of a block, for a network of sequences in which a position sees those of
            its own block and of the blocks before it; None where it sees all. Such a network takes two arguments more:
            ``clean`` [B, *D], a sequence that each block sees in the place of the blocks of x before it; and ``seen``,
            a list that holds what it computed of the positions before x, and then of those of x as well.
    """

    condition: ClassVar[Literal["label"] | None] = None
    condition_dropout: float = 0.0
    takes_time: bool = True
    block_size: int | None = None


class LabelledNetwork(Network):
    """A backbone that takes a label for each sample if it is asked to: their embedding is added to that of the time.

    Args:
        labels: whether it takes labels.
        num_classes: filled in from the data; None for data without labels.
        condition_dropout: see `Network`; only with labels.
        width: size of the time embedding.

    Raises:
        ValueError: naming the key, if the data has no labels, or the share is out of its range.
    """

    def __init__(self, labels: bool, num_classes: int | None, condition_dropout: float, width: int) -> None:
        super().__init__()
        check_share("network.condition_dropout", condition_dropout)
        if not labels:
            return
        if num_classes is None:
            raise ValueError("network.labels=true needs data with labels")
        self.condition = "label"  # type: ignore[misc]
        self.condition_dropout = condition_dropout
        self.label_embedding = nn.Embedding(num_classes + 1, width)

    def with_label(self, time: Tensor, condition: Tensor | None) -> Tensor:
        """Return the time embedding [B, width] with that of the labels [B] int64 added, where there are some.

        Raises:
            ValueError: if labels are given to a network that takes none.
        """
        if self.condition == "label":
            return time + self.label_embedding(condition)
        if condition is not None:
            raise ValueError("the network takes labels only with network.labels=true")
        return time


def check_share(key: str, share: float) -> None:
    """Raise ValueError, naming the key, unless a share is at least 0 and below 1."""
    if not 0 <= share < 1:
        raise ValueError(f"{key} must be at least 0 and below 1, got {share}")


def check_halvings(multipliers: Sequence[int], image_size: int, halvings: int, patch_size: int = 1) -> None:
    """Raise ValueError, naming the key, if widths are not positive, or the image's patches do not halve so often."""
    levels = len(multipliers)
    if levels < 1 or min(multipliers) < 1:
        raise ValueError(f"network.channel_multipliers needs one or more positive integers, got {list(multipliers)}")
    side = image_size // patch_size
    if side % 2**halvings:
        possible = max(n for n in range(16) if side % 2**n == 0)
        patches = f" in patches of {patch_size}" if patch_size > 1 else ""
        raise ValueError(
            f"network.channel_multipliers has {levels} levels, which halve the image {halvings} times, but "
            f"data.image_size={image_size}{patches} halves evenly only {possible} times"
        )


def check_patches(patch_size: int, image_size: int) -> None:
    """Raise ValueError, naming the key, unless patches of this side fill the image."""
    if patch_size < 1 or image_size % patch_size:
        raise ValueError(f"network.patch_size must divide data.image_size={image_size}, got {patch_size}")


def hidden_values(mlp_ratio: float, width: int) -> int:
    """Return the hidden size of a perceptron; raise ValueError, naming the key, if it is 0 or infinite."""
    if not 1 <= mlp_ratio * width < math.inf:
        raise ValueError(
            f"network.mlp_ratio times network.width={width} must be at least 1 and finite, got "
            f"network.mlp_ratio={mlp_ratio}"
        )
    return int(mlp_ratio * width)
