"""The order of samples from most to least typical, by how densely real items lie around each."""

from __future__ import annotations

from torch import Tensor

from diffusion_lab.metrics.feature_distances import kth_nearest_distance
from diffusion_lab.metrics.feature_sets import check_pair, check_set


def typicality_order(samples: Tensor, real: Tensor, k: int = 5) -> Tensor:
    """Return the numbers of samples, [N] int64, from the one in the densest region of real items to the last.

    The density at a sample is estimated by its distance from the k-th nearest real item: the nearer, the denser
    (Loftsgaarden & Quesenberry 1965). Equally typical samples stay in their order.

    Args:
        samples: [N, D] floating point features.
        real: [M, D], M at least k.
        k: the number of neighbours.

    Raises:
        ValueError: if k is below 1, if a set is too small or not finite, or if all real items are the same.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    check_set("real", real, k, f"typicality with k={k}")
    check_pair(real, samples, 1, "typicality")
    return kth_nearest_distance(samples, real, k).argsort(stable=True)
