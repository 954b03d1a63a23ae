"""The denoiser: a network and the meaning of its output, as one callable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from diffusion_lab.errors import LabError
from diffusion_lab.parameterizations.base import Parameterization
from diffusion_lab.parameterizations.output_memory import OutputMemory
from diffusion_lab.processes import Prediction


def condition_kind(network: object) -> str | None:
    """Return the kind of condition that a network takes, such as ``label``; None if it takes none."""
    return getattr(network, "condition", None)


def block_size(network: object) -> int | None:
    """Return how many positions a block has, for a network that sees a block and those before it; None without."""
    return getattr(network, "block_size", None)


class Denoiser:
    """(z_t [B, *D], t [B], condition [B, …] or None) → Prediction.

    Args:
        network: (x [B, *D], c_noise [B], condition or None) → raw.
        parameterization: what raw means.

    Attributes:
        evaluations: how many states the network has been evaluated at: a batch of B counts B.
    """

    _memory: OutputMemory | None = None

    def __init__(self, network: Callable[..., Tensor], parameterization: Parameterization) -> None:
        self.network = network
        self.parameterization = parameterization
        self.evaluations = 0

    @property
    def block_size(self) -> int | None:
        """See `block_size`."""
        return block_size(self.network)

    def raw(self, z_t: Tensor, t: Tensor, condition: Tensor | None = None, clean: Tensor | None = None) -> Tensor:
        """Return the network's output, before it means anything; for floating states in their dtype, else float32.

        Args:
            z_t: [B, *D] states.
            t: [B] their times, or [B, L] where positions differ.
            condition: [B, …] or None.
            clean: [B, *D] the data that they were made from, if it is known: a network that sees blocks then sees the
                clean blocks before each, and any other does without.

        Raises:
            LabError: if the network takes a condition and there is none, or the other way round.
        """
        self._check_condition(condition)
        x, c_noise = self.parameterization.network_input(z_t, t)
        if clean is not None and self.block_size is not None:
            return self._evaluate(z_t, x, c_noise, condition, clean=clean)
        if self._memory is None:
            return self._evaluate(z_t, x, c_noise, condition)

        def ask(rows: Tensor | slice, first: int, **seen: object) -> Tensor:
            some = None if condition is None else condition[rows]
            return self._evaluate(z_t[rows, first:], x[rows, first:], c_noise[rows], some, **seen)

        return self._memory.output(x, condition, ask)

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """While this lasts, a network that is not told the time is not asked twice in a row for the same state.

        One that sees blocks is not asked again for the blocks before the first that changed, either. Its weights must
        not change meanwhile.
        """
        takes_time = getattr(self.network, "takes_time", True)
        self._memory = None if takes_time else OutputMemory(self.block_size)
        try:
            yield
        finally:
            self._memory = None

    def _evaluate(
        self, z_t: Tensor, x: Tensor, c_noise: Tensor, condition: Tensor | None, **of_blocks: object
    ) -> Tensor:
        self.evaluations += len(z_t)
        if isinstance(self.network, nn.Module) and x.is_floating_point():
            x = x.to(next((p.dtype for p in self.network.parameters()), x.dtype))
        raw = self.network(x, c_noise, condition, **of_blocks)
        return raw.to(z_t.dtype) if z_t.is_floating_point() else raw.float()

    def __call__(
        self, z_t: Tensor, t: Tensor, condition: Tensor | None = None, clean: Tensor | None = None
    ) -> Prediction:
        """Return the prediction for states z_t; the arguments are those of `raw`."""
        return self.parameterization.prediction(self.raw(z_t, t, condition, clean), z_t, t)

    def _check_condition(self, condition: Tensor | None) -> None:
        kind = condition_kind(self.network)
        if kind is not None and condition is None:
            raise LabError(f"{type(self.network).__name__} takes a {kind} for each sample, and was given none")
        if kind is None and condition is not None and isinstance(self.network, nn.Module):
            raise LabError(f"{type(self.network).__name__} takes no condition, and was given one")
