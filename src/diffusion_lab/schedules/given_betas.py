"""A schedule whose betas are given one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from diffusion_lab.schedules.discrete import DiscreteSchedule


class GivenBetas(DiscreteSchedule):
    """The betas of T steps as they are given (Ho et al. 2020, eq. 2): of a schedule that was made elsewhere.

    Args:
        betas: of the steps 1 to T, each above 0 and below 1; the last one may be 1.

    Raises:
        ValueError: if a beta lies outside its range.
    """

    def __init__(self, betas: Sequence[float]) -> None:
        super().__init__(torch.tensor(list(betas), dtype=torch.float64))
