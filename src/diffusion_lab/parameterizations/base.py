"""The seam between a network's raw output and the prediction that samplers use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.processes import Noised, Prediction, Process


class Parameterization(ABC):
    """How a state becomes the network's input, and the network's raw output a prediction.

    Args:
        process: how the states were made; its schedule tells networks the time. A subclass names the kind of process
            that it goes with as the type of this argument.

    Attributes:
        outputs_per_channel: how many channels the network puts out for each channel of the state.
        divides_by_alpha: whether predicted data is divided by alpha, so that errors grow where little signal is left.
    """

    outputs_per_channel: int = 1
    divides_by_alpha: bool = False

    def __init__(self, process: Process) -> None:
        self.process = process

    def network_input(self, z_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return (input [B, *D], c_noise [B] float32) for states z_t at times t [B]: here, the states themselves."""
        return z_t, self.process.schedule.c_noise(t).to(z_t.device, torch.float32)

    @abstractmethod
    def prediction(self, raw: Tensor, z_t: Tensor, t: Tensor) -> Prediction:
        """Return what the raw output says of z_t."""

    def provides(self) -> dict[str, Any]:
        """Return what constructors of later parts may ask for by name, such as a number of outputs."""
        return {}


class Regression(Parameterization):
    """A parameterization whose raw output is held against a target of the same shape."""

    def data_error(self, t: Tensor) -> Tensor:
        """Return k [B] float64 with ‖x0 error‖² = k ‖raw error‖² at times t [B], by which weights are converted.

        Raises:
            LabError: if this parameterization does not say, and so goes with weight=none alone.
        """
        raise LabError(f"parameterization={type(self).__name__} goes with weight=none alone: it has no data_error")

    @abstractmethod
    def target(self, noised: Noised) -> Tensor:
        """Return what the raw output should have been: the space in which the training error is computed."""
