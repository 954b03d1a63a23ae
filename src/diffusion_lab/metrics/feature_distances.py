"""Euclidean distances between many items in feature space, a block at a time.

Near items are found by ‖x‖² + ‖y‖² − 2x·y in float64, which takes a tenth of the time of summing squared differences;
their distance is then the root of such a sum, so that equal items are at a distance of exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

#: Distances in a block: 32 MB.
_BLOCK = 2**22


@dataclass(frozen=True)
class Nearest:
    """The nearest item of another set, for each item.

    Attributes:
        index: [N] int64; any of them where several are equally near.
        distance: [N] float64, in the unit of the features.
    """

    index: Tensor
    distance: Tensor


def nearest_items(x: Tensor, others: Tensor) -> Nearest:
    """Return the nearest of `others` [M, D] for each item of x [N, D]."""
    index = torch.cat([squared.argmin(1) for _, squared in squared_distance_blocks(x, others)])
    return Nearest(index, _distance(x, others, index[:, None])[:, 0])


def kth_nearest_distance(x: Tensor, others: Tensor, k: int) -> Tensor:
    """Return the distance [N] float64 of each item of x [N, D] from its k-th nearest of `others` [M, D], k ≤ M."""
    nearest = torch.cat([_smallest(squared, k) for _, squared in squared_distance_blocks(x, others)])
    return _distance(x, others, nearest).amax(1)


def kth_neighbour_distance(x: Tensor, k: int) -> Tensor:
    """Return the distance [N] float64 of each item of x [N, D] from its k-th nearest other item, k < N.

    An item is no neighbour of itself, but another one with the same features is.
    """
    nearest = []
    for block, squared in squared_distance_blocks(x, x):
        rows = torch.arange(len(squared))
        squared[rows, rows + block.start] = torch.inf
        nearest.append(_smallest(squared, k))
    return _distance(x, x, torch.cat(nearest)).amax(1)


def squared_distance_blocks(x: Tensor, y: Tensor, slack: float = 0.0) -> Iterator[tuple[slice, Tensor]]:
    """Yield the rows of the matrix of squared distances between x [N, D] and y [M, D].

    Args:
        x: the items of the rows.
        y: those of the columns.
        slack: take as much off each entry, as a share of ‖x‖² + ‖y‖². With 1e-12, which is more than what is lost by
            rounding and less than the digits that float32 features have, items are never too far by rounding alone.

    Yields:
        A slice of x, and [rows, M] float64.
    """
    x, y = x.cpu().double(), y.cpu().double()
    x_squared, y_squared = ((1 - slack) * z.square().sum(1) for z in (x, y))
    rows = max(1, _BLOCK // max(1, len(y)))
    for start in range(0, len(x), rows):
        block = slice(start, min(start + rows, len(x)))
        squared = torch.addmm(y_squared, x[block], y.T, alpha=-2)
        squared += x_squared[block, None]
        yield block, squared


def _smallest(squared: Tensor, k: int) -> Tensor:
    return squared.topk(k, largest=False).indices


def _distance(x: Tensor, others: Tensor, index: Tensor) -> Tensor:
    """Return the distances [N, k] of x [N, D] from the items of `others` with the numbers `index` [N, k]."""
    x, others = x.cpu().double(), others.cpu().double()
    return torch.stack([(x - others[column]).square().sum(1).sqrt() for column in index.T], 1)
