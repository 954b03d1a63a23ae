"""The seam that every weight of the loss fills."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Weight(ABC):
    """A weight of the squared error of the predicted data, as a function of the log-SNR.

    It is declared for x0; the objective converts it to the space of the network's raw output, so that one weight means
    the same for every parameterization.
    """

    @abstractmethod
    def __call__(self, log_snr: Tensor) -> Tensor:
        """Return the weight [B] float64 of ‖x0 − predicted x0‖² at log-SNRs [B], which may be infinite."""
