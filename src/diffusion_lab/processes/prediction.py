"""The seam between those who predict clean data and those who use the prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor


class Prediction(ABC):
    """The prediction of a denoiser for a state z_t [B, *D]."""

    @property
    @abstractmethod
    def x0(self) -> Tensor:
        """The predicted clean state [B, *D]; for categories, the logarithms of their probabilities [B, *D, V]."""

    def guided(self, free: Prediction, scale: float) -> Tensor:
        """Return the x0 that lies `scale` times as far from that of `free` as this one: û + scale (ĉ − û)."""
        return free.x0 + scale * (self.x0 - free.x0)

    @abstractmethod
    def with_x0(self, x0: Tensor) -> Self:
        """Return the prediction with other clean data; whatever else was predicted, such as a variance, stays."""
