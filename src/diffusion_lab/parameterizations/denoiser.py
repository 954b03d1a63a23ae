"""The denoiser: a network and the meaning of its output, as one callable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from diffusion_lab.errors import LabError
from diffusion_lab.parameterizations.base import Parameterization
from diffusion_lab.processes import Prediction

#: How many outputs are remembered: with guidance, that for the label or the prompt and that without.
_REMEMBERED = 2


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

    _memory: list[tuple[Tensor, Tensor | None, Tensor]] | None = None

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
        x, c_noise = self.parameterization.network_input(z_t, t)
        if self._memory is None:
            return self._evaluate(z_t, x, c_noise, condition)
        return self._recalled(z_t, x, c_noise, condition)

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """While this lasts, a network that is not told the time is not asked twice in a row for the same state.

        Its weights must not change meanwhile.
        """
        takes_time = getattr(self.network, "takes_time", True)
        self._memory = None if takes_time else []
        try:
            yield
        finally:
            self._memory = None

    def _recalled(self, z_t: Tensor, x: Tensor, c_noise: Tensor, condition: Tensor | None) -> Tensor:
        """Return the output, computed for the rows that differ from the most similar states that are remembered."""
        assert self._memory is not None
        alike = [entry for entry in self._memory if _equal(entry[1], condition) and entry[0].shape == x.shape]
        before = min(alike, key=lambda entry: int((entry[0] != x).flatten(1).any(1).sum()), default=None)
        if before is None:
            raw = self._evaluate(z_t, x, c_noise, condition)
        else:
            raw, changed = before[2], (before[0] != x).flatten(1).any(1)
            if bool(changed.any()):
                some = None if condition is None else condition[changed]
                raw = raw.index_put((changed,), self._evaluate(z_t[changed], x[changed], c_noise[changed], some))
        others = [entry for entry in self._memory if entry[2] is not raw]
        self._memory = [(x, condition, raw), *others][:_REMEMBERED]
        return raw

    def _evaluate(self, z_t: Tensor, x: Tensor, c_noise: Tensor, condition: Tensor | None) -> Tensor:
        self.evaluations += len(z_t)
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


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return (one is None and other is None) or (one is not None and other is not None and torch.equal(one, other))
