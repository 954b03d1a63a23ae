"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), from nearest neighbours.

All four ask which items of one set lie in balls around those of the other. torchmetrics has none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lab.metrics.feature_distances import kth_neighbour_distance, squared_distance_blocks
from diffusion_lab.metrics.feature_sets import check_pair, check_set


@dataclass(frozen=True)
class NeighbourBalls:
    """A closed ball around each item of a set, which reaches as far as its k-th nearest neighbour in the set.

    Attributes:
        centres: [N, D] floating point, features.
        radii: [N] float64; zero where k other items have the same features.
        k: the number of neighbours.
    """

    centres: Tensor
    radii: Tensor
    k: int

    @classmethod
    def around(cls, features: Tensor, k: int) -> NeighbourBalls:
        """Return the balls around items [N, D], N at least k + 1; N² distances are computed.

        Raises:
            ValueError: if k is below 1, or if the items are too few or not finite.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        check_set("real or generated", features, k + 1, f"neighbours with k={k}")
        return cls(features, kth_neighbour_distance(features, k), k)

    def count(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return how many balls each point of [M, D] lies in, [M] int64, and how many points each ball holds, [N]."""
        balls_of_point = torch.zeros(len(points), dtype=torch.int64)
        points_of_ball = torch.empty(len(self.centres), dtype=torch.int64)
        for block, squared in squared_distance_blocks(self.centres, points, slack=1e-12):
            inside = squared <= self.radii[block, None] ** 2
            balls_of_point += inside.sum(0)
            points_of_ball[block] = inside.sum(1)
        return balls_of_point, points_of_ball


@dataclass(frozen=True)
class PrecisionRecall:
    """How much of each set lies within the other: from 0 to 1.

    Attributes:
        precision: share of generated items within a ball of a real one.
        recall: share of real items within a ball of a generated one.
    """

    precision: float
    recall: float


def precision_recall(real: NeighbourBalls, generated: NeighbourBalls) -> PrecisionRecall:
    """Return precision and recall between two sets; the paper's k is 3.

    Precision and recall swap when the sets are swapped.

    Raises:
        ValueError: if the sets have features of different sizes, or if all real items are the same.
    """
    check_pair(real.centres, generated.centres, 2, "precision and recall")
    in_real, _ = real.count(generated.centres)
    in_generated, _ = generated.count(real.centres)
    return PrecisionRecall(_share(in_real > 0), _share(in_generated > 0))


@dataclass(frozen=True)
class DensityCoverage:
    """How densely generated items lie among real ones, and how many real ones they are near to.

    Attributes:
        density: how many balls of real items a generated one lies in, divided by k; 1 is expected of two sets of one
            distribution, and it can be larger.
        coverage: share of the real items' balls that hold a generated item, from 0 to 1; it depends on the number of
            generated items.
    """

    density: float
    coverage: float


def density_coverage(real: NeighbourBalls, generated: Tensor) -> DensityCoverage:
    """Return density and coverage of generated items [M, D]; the paper's k is 5.

    Raises:
        ValueError: if the items have features of another size or are not finite, or if all real items are the same.
    """
    check_pair(real.centres, generated, 1, "density and coverage")
    balls_of_point, points_of_ball = real.count(generated)
    return DensityCoverage(float(balls_of_point.double().mean()) / real.k, _share(points_of_ball > 0))


def _share(chosen: Tensor) -> float:
    return float(chosen.double().mean())
