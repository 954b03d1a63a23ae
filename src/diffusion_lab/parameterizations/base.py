"""The seam between a network's raw output and the prediction that samplers use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from diffusion_lab.processes import Noised


class Prediction(ABC):
    """What a denoiser says of a noisy state z_t [B, *D]: the data x0 and the noise eps, both [B, *D].

    The two are tied by z_t = alpha x0 + sigma eps; whichever was not predicted is derived when asked for.
    """

    @property
    @abstractmethod
    def x0(self) -> Tensor: ...

    @property
    @abstractmethod
    def eps(self) -> Tensor: ...


@dataclass(frozen=True)
class EpsPrediction(Prediction):
    """A prediction made as noise; alpha and sigma broadcast to z_t."""

    z_t: Tensor
    alpha: Tensor
    sigma: Tensor
    predicted: Tensor

    @cached_property
    def x0(self) -> Tensor:
        return (self.z_t - self.sigma * self.predicted) / self.alpha

    @property
    def eps(self) -> Tensor:
        return self.predicted


@dataclass(frozen=True)
class X0Prediction(Prediction):
    """A prediction made as data; alpha and sigma broadcast to z_t."""

    z_t: Tensor
    alpha: Tensor
    sigma: Tensor
    predicted: Tensor

    @property
    def x0(self) -> Tensor:
        return self.predicted

    @cached_property
    def eps(self) -> Tensor:
        return (self.z_t - self.alpha * self.predicted) / self.sigma


class Parameterization(ABC):
    """How a state becomes the network's input, and the network's output a prediction.

    Attributes:
        outputs_per_channel: how many channels the network puts out for each channel of the state.
    """

    outputs_per_channel: int = 1

    @abstractmethod
    def network_input(self, z_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(input [B, *D], c_noise [B]) for the state z_t at times t [B]."""

    @abstractmethod
    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> Prediction:
        """What the raw output says of z_t."""

    @abstractmethod
    def target(self, noised: Noised) -> Tensor:
        """What the raw output should have been: the space in which the training error is computed."""
