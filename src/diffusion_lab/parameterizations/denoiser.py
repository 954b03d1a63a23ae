"""The denoiser: a network and the meaning of its output, as one callable."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from diffusion_lab.parameterizations.base import Parameterization, Prediction


class Denoiser:
    """(z_t [B, *D], t [B], condition [B] or None) → Prediction.

    Args:
        network: (x [B, *D], c_noise [B], labels [B] or None) → raw.
        parameterization: what raw means.

    Attributes:
        evaluations: how often the network has been called.
    """

    def __init__(self, network: Callable[..., Tensor], parameterization: Parameterization) -> None:
        self.network = network
        self.parameterization = parameterization
        self.evaluations = 0

    def raw(self, z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The network's output, before it means anything, in the dtype of z_t whatever the network's own."""
        self.evaluations += 1
        x, c_noise = self.parameterization.network_input(z_t, t)
        if isinstance(self.network, nn.Module):
            x = x.to(next((p.dtype for p in self.network.parameters()), x.dtype))
        return self.network(x, c_noise, condition).to(z_t.dtype)

    def __call__(self, z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        return self.parameterization.prediction(self.raw(z_t, t, condition), z_t, t)
