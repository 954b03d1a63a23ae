"""Are samples copies of training items? By their distance from the nearest one, beside that of held-out real items."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lab.metrics.feature_distances import Nearest, nearest_items
from diffusion_lab.metrics.feature_sets import check_set

#: The share of held-out items that are called as near to a training item as a copy.
_NEAREST_SHARE = 0.01


@dataclass(frozen=True)
class Memorization:
    """Samples and held-out real items, and the nearest training item of each.

    Attributes:
        samples: of the samples.
        held_out: of real items that are not in the training set: what to expect of perfect samples.
    """

    samples: Nearest
    held_out: Nearest

    @property
    def threshold(self) -> float:
        """The first percentile of the held-out items' distances: one of them, or the smallest of fewer than 100."""
        return float(torch.quantile(self.held_out.distance, _NEAREST_SHARE, interpolation="lower"))

    @property
    def nearer(self) -> float:
        """Share of the samples that are nearer to a training item than the threshold; 0.01 is expected of real ones.

        Copies, at a distance of 0, are among them also where so many held-out items are copies that the threshold is 0.
        """
        distance = self.samples.distance
        return float(((distance < self.threshold) | (distance == 0)).double().mean())

    @property
    def median_ratio(self) -> float | None:
        """The samples' median distance divided by the held-out items'; None if that is zero."""
        of_samples, of_held_out = (float(part.distance.quantile(0.5)) for part in (self.samples, self.held_out))
        return of_samples / of_held_out if of_held_out else None

    def as_dict(self) -> dict[str, float]:
        """For a metrics file."""
        found = {"nearer": self.nearer, "threshold": self.threshold, "median_ratio": self.median_ratio}
        return {name: value for name, value in found.items() if value is not None}

    def summary(self) -> str:
        """One line for people."""
        ratio = "n/a" if self.median_ratio is None else f"{self.median_ratio:.3g}"
        return (
            f"{self.nearer:.1%} of {len(self.samples.index)} samples are nearer to a training item than "
            f"{1 - _NEAREST_SHARE:.0%} of {len(self.held_out.index)} held-out ones; ratio of median distances {ratio}"
        )


def memorization(samples: Tensor, held_out: Tensor, train: Tensor) -> Memorization:
    """Find the training items that are nearest to samples and to held-out real items, in feature space.

    Args:
        samples: [N, D] floating point features, N at least 1.
        held_out: [M, D], of real items that are not among the training items.
        train: [L, D], of all training items: with fewer, distances are larger.

    Raises:
        ValueError: if a set is empty or not finite, or if their features differ in size.
    """
    for name, features in (("generated", samples), ("held-out", held_out), ("training", train)):
        check_set(name, features, 1, "memorization")
        if features.shape[1] != train.shape[1]:
            raise ValueError(
                f"{name} and training features must be of one size, got {features.shape[1]} and {train.shape[1]}"
            )
    return Memorization(nearest_items(samples, train), nearest_items(held_out, train))
