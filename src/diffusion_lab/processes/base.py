"""The seam that every way to destroy data fills."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diffusion_lab.distributions import Distribution
from diffusion_lab.noise import Noise
from diffusion_lab.processes.prediction import Prediction
from diffusion_lab.schedules import Schedule


@dataclass(frozen=True)
class Noised:
    """A destroyed state z_t [B, *D] at times t [B], and the clean z0 [B, *D] that it was made from."""

    z_t: Tensor
    t: Tensor
    z0: Tensor


class Process(ABC):
    """How data is destroyed over time, and the exact way back.

    States are [B, *D] in the dtype of the process: floating for Gaussian noise, int64 for categories. Times are
    float64, [B] (or [B, L] where positions differ), with 0 clean and 1 destroyed.

    Attributes:
        schedule: how far data is destroyed at each time.
    """

    schedule: Schedule

    @property
    def facts(self) -> dict[str, float]:
        """The numbers of a plain draw that a person wants to see beside samples, by name."""
        return {}

    @abstractmethod
    def sample(self, z0: Tensor, t: Tensor, noise: Noise) -> Noised:
        """Draw z_t given the clean z0 [B, *D], with one row of `noise` for each sample."""

    @abstractmethod
    def prior(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draw the state [B, *shape] at t = 1, on the scale and in the dtype of the process."""

    @abstractmethod
    def prior_kl(self, z0: Tensor) -> Tensor:
        """Return KL(q(z_1 | z0) ‖ prior) [B] in nats, summed over the dimensions of each sample."""

    @abstractmethod
    def transition(self, z_s: Tensor, s: Tensor, t: Tensor) -> Distribution:
        """Return q(z_t | z_s) for times s < t: the step forward."""

    @abstractmethod
    def posterior(self, z_t: Tensor, prediction: Prediction, t: Tensor, s: Tensor) -> Distribution:
        """Return q(z_s | z_t, z0) with the predicted data in the place of z0, for any times s < t."""

    def clean(self, prediction: Prediction, z_t: Tensor, t: Tensor, noise: Noise) -> Tensor:
        """Return clean states [B, *D], as a step from z_t to clean data leads to: here, the predicted data itself."""
        x0: Tensor = prediction.x0
        return x0

    def confidence(self, prediction: Prediction, z_t: Tensor, z_s: Tensor) -> Tensor | None:
        """Return the probability [B, *D] that the prediction for z_t gives to what z_s holds; None for numbers.

        It is NaN where z_s holds nothing that was predicted for z_t.
        """
        return None

    def provides(self) -> dict[str, Any]:
        """Return what constructors of later parts may ask for by name, such as a number of states."""
        return {}


def per_sample(coefficient: Tensor, like: Tensor) -> Tensor:
    """Return coefficients [B] (or [B, L]) with trailing ones, on the device of `like` [B, *D] and in its dtype.

    Of states that are integers they keep their own dtype.
    """
    dtype = like.dtype if like.is_floating_point() else coefficient.dtype
    return coefficient.to(like.device, dtype).reshape(*coefficient.shape, *(1,) * (like.ndim - coefficient.ndim))
