"""The denoiser: a network and the meaning of its output, as one callable."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from diffusion_lab.errors import LabError
from diffusion_lab.parameterizations.base import Parameterization
from diffusion_lab.processes import Prediction


def condition_kind(network: object) -> str | None:
    """Return the kind of condition that a network takes, such as ``label``; None if it takes none."""
    return getattr(network, "condition", None)


class Denoiser:
    """(z_t [B, *D], t [B], condition [B, …] or None) → Prediction.

    Args:
        network: (x [B, *D], c_noise [B], condition or None) → raw.
        parameterization: what raw means.

    Attributes:
        evaluations: how many states the network has been evaluated at: a batch of B counts B.
    """

    def __init__(self, network: Callable[..., Tensor], parameterization: Parameterization) -> None:
        self.network = network
        self.parameterization = parameterization
        self.evaluations = 0

    def raw(self, z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the network's output, before it means anything; for floating states in their dtype, else float32.

        Raises:
            LabError: if the network takes a condition and there is none, or the other way round.
        """
        self._check_condition(condition)
        self.evaluations += len(z_t)
        x, c_noise = self.parameterization.network_input(z_t, t)
        if isinstance(self.network, nn.Module) and x.is_floating_point():
            x = x.to(next((p.dtype for p in self.network.parameters()), x.dtype))
        raw = self.network(x, c_noise, condition)
        return raw.to(z_t.dtype) if z_t.is_floating_point() else raw.float()

    def __call__(self, z_t: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        return self.parameterization.prediction(self.raw(z_t, t, condition), z_t, t)

    def _check_condition(self, condition: Tensor | None) -> None:
        kind = condition_kind(self.network)
        if kind is not None and condition is None:
            raise LabError(f"{type(self.network).__name__} takes a {kind} for each sample, and was given none")
        if kind is None and condition is not None and isinstance(self.network, nn.Module):
            raise LabError(f"{type(self.network).__name__} takes no condition, and was given one")
