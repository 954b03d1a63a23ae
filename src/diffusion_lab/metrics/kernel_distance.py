"""Kernel distance between features: KID, if these are Inception's (Bińkowski et al. 2018, section 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from diffusion_lab.metrics.feature_sets import GivenFeatures, check_pair, seeded_draws

#: Subsets have at most this share of the smaller set.
_LARGEST_SHARE = 5
_LARGEST_SUBSET = 1000
#: A subset needs two items, to have a pair.
FEWEST_ITEMS = 2 * _LARGEST_SHARE


@dataclass(frozen=True)
class KernelDistance:
    """Squared maximum mean discrepancy of two sets of features, with the kernel (x·y/D + 1)³.

    Attributes:
        value: the mean over subsets; unbiased, so that it is around zero, and at times below, for two sets of one
            distribution.
        error: standard error of `value`.
        subset_size: how many items of each set a subset has.
    """

    value: float
    error: float
    subset_size: int


def kernel_distance(real: Tensor, generated: Tensor, seed: int = 0, subsets: int = 100) -> KernelDistance:
    """Return the kernel distance between two sets of features.

    A subset has a fifth of the smaller set, and at most 1,000 items. Subsets that hold most of a set would be nearly
    the same, and their spread no measure of the error. The error is that of the delete-d jackknife (Shao & Wu 1989):
    with m of n items in a subset, the spread over subsets times √(m/(n − m)), plus what comes from their finite number.
    It is right for two sets of one size that differ. For sets of one distribution it is too large, by a factor of about
    3, and of about 5 if one set is far larger: there, the spread over several sets of samples says more.

    Args:
        real: [N, D] floating point, N at least 10; computed in float64.
        generated: [M, D], M at least 10.
        seed: of the choice of the subsets; torch's global generator stays as it was.
        subsets: how many are drawn; at least 2.

    Raises:
        ValueError: if a set is too small or not finite, if all real items are the same, or for fewer than 2 subsets.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    if subsets < 2:
        raise ValueError(f"subsets must be at least 2, got {subsets}")
    check_pair(real, generated, FEWEST_ITEMS, "the kernel distance (KID)")
    n = min(len(real), len(generated))
    m = min(n // _LARGEST_SHARE, _LARGEST_SUBSET)
    with seeded_draws(seed):
        metric = KernelInceptionDistance(GivenFeatures(real.shape[1]), subsets, m, sync_on_compute=False)
        metric.update(real.cpu().double(), real=True)
        metric.update(generated.cpu().double(), real=False)
        mean, spread = map(float, metric.compute())
    return KernelDistance(mean, spread * math.sqrt(m / (n - m) + 1 / subsets), m)
