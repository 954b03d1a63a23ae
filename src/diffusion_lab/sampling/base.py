"""The seam that every sampler fills."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from diffusion_lab.noise import Noise

#: (z_t, t, condition) → prediction: a Denoiser, or one that has been transformed.
DenoiserFn = Callable[..., Any]


@dataclass
class State:
    """Where a draw has got to: z [B, *D], the time t [B] of each sample, and what the solver remembers."""

    z: Tensor
    t: Tensor
    history: dict[str, Tensor] = field(default_factory=dict)


class Sampler(ABC):
    """Yields its own pairs of times and takes one step at a time."""

    @abstractmethod
    def steps(self) -> Iterator[tuple[float, float]]:
        """Pairs (t, s): the time a step starts at and the time it leads to."""

    @abstractmethod
    def __len__(self) -> int:
        """How many steps there are."""

    @abstractmethod
    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        """From times t [B] to times s [B], with `noise` of this step's own."""
