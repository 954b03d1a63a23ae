"""Distributions of a state, one for each sample of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise


class Distribution(ABC):
    """A distribution of states [B, *D]."""

    @abstractmethod
    def sample(self, noise: Noise) -> Tensor:
        """Draw one state for each row of `noise`: [B, *D] in the dtype of the state."""


@dataclass(frozen=True)
class Normal(Distribution):
    """A diagonal normal distribution: mean [B, *D], and a standard deviation that broadcasts to it."""

    mean: Tensor
    std: Tensor

    def sample(self, noise: Noise) -> Tensor:
        return self.mean + self.std * noise.normal(self.mean.shape[1:]).to(self.mean)


@dataclass(frozen=True)
class Categorical(Distribution):
    """Independent categories at each position.

    Args:
        log_probs: [B, *D, V] float, the logarithms of probabilities that sum to 1 over V; −inf for impossible ones.
    """

    log_probs: Tensor

    def sample(self, noise: Noise) -> Tensor:
        """Draw [B, *D] int64 by inversion; a category whose probability is 0 is never drawn.

        Raises:
            LabError: if the probabilities of a position are not finite, or all 0.
        """
        cumulative = self.log_probs.double().exp().cumsum(-1)
        total = cumulative[..., -1]
        if not bool((total.isfinite() & (total > 0)).all()):
            raise LabError(
                "probabilities of categories are not finite, or all 0: weights that are not finite do this; "
                "try checkpoint=best"
            )
        uniform = noise.uniform(self.log_probs.shape[1:-1]).to(cumulative)  # [B, *D] in [0, 1)
        return (cumulative <= (uniform * cumulative[..., -1])[..., None]).sum(-1)
