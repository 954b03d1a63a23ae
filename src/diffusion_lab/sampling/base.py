"""The seams of sampling: walks through time, samplers, constraints, and transforms of the denoiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.noise import Noise

#: (z_t [B, *D], t [B], condition or None) → prediction: a Denoiser, or one that has been transformed.
DenoiserFn = Callable[..., Any]


@dataclass
class State:
    """The state z [B, *D] of a draw, and what the solver remembers of earlier steps."""

    z: Tensor
    history: dict[str, Tensor] = field(default_factory=dict)


class Walk(ABC):
    """A way through time: which pairs of times it visits, and how each is taken.

    A sampler walks from noise to data. Built on a sampler, `Inversion` walks its times backwards, by the sampler's own
    steps; `TimeTravel` goes its way and jumps back up at times, by noise that the process adds.

    Args:
        steps: pairs (t, s), the time a step starts at and the time it leads to.
    """

    def __init__(self, steps: Sequence[tuple[float, float]]) -> None:
        self.steps = steps

    def drawn(self, times: tuple[float, float]) -> slice:
        """Return the positions of the state that a step draws, whose predictions come last: here, all."""
        return slice(None)

    @abstractmethod
    def take(self, state: State, times: tuple[float, float], denoiser: DenoiserFn, noise: Noise) -> State:
        """Return the state after a step.

        Args:
            state: at the time the step starts at.
            times: one of `steps`.
            denoiser: (z_t, t) → prediction, with the condition of the draw already bound.
            noise: this step's own, one row for each sample.
        """


class Sampler(Walk):
    """Knows its own pairs of times, and takes one step at a time.

    Args:
        steps: pairs (t, s) with s < t. A last pair with s = t stands for the step to clean data, where t = 0 is not
            clean; it is the same for every sampler.

    Attributes:
        process: whose states it walks through; set by each sampler.
        reversible: whether `step` adds no noise and leads from lower times to higher ones as well: such a sampler
            also runs backwards, from data to noise.
        by_blocks: whether it goes with networks that see blocks (`Network.block_size`), and with no others.
    """

    process: Any
    reversible: bool = False
    by_blocks: bool = False

    def take(self, state: State, times: tuple[float, float], denoiser: DenoiserFn, noise: Noise) -> State:
        t, s = (full_time(time, noise) for time in times)
        if times[0] == times[1]:
            return State(self.process.clean(denoiser(state.z, t), state.z, t, noise))
        return self.step(state, t, s, denoiser, noise)

    @abstractmethod
    def step(self, state: State, t: Tensor, s: Tensor, denoiser: DenoiserFn, noise: Noise) -> State:
        """Take a step from times t [B] to times s [B], float64.

        Args:
            state: the state at times t.
            t, s: where the step starts and leads to.
            denoiser: (z_t, t) → prediction, with the condition of the draw already bound.
            noise: this step's own.
        """

    def of_length(self, length: int) -> Sampler:
        """Return the same sampler for sequences of another length: here, itself, whose steps do not depend on it."""
        return self

    def warning(self, bounded: bool) -> str | None:
        """Return a line about settings that are allowed and known to fail.

        Args:
            bounded: whether predicted data stays within bounds, since it is clipped or not divided by alpha.
        """
        return None


def full_time(time: float, noise: Noise) -> Tensor:
    """Return a time for each sample: [B] float64, where the rows of `noise` are."""
    return torch.full((len(noise.rows),), time, dtype=torch.float64, device=noise.rows.device)


class Constraint(ABC):
    """Knowledge of the samples beforehand: it acts on the state between the steps of a draw.

    Attributes:
        given: [*D] bool, the positions of every state that it fixes; None for none.
    """

    given: Tensor | None = None

    @abstractmethod
    def __call__(self, state: State, s: Tensor | None, noise: Noise) -> State:
        """Return the state with what is known put into it.

        It is called on the start of a draw and after each step. A changed state comes back without the solver's
        history, which belongs to the state that was there.

        Args:
            state: the state at times s.
            s: [B] float64; None where the state is clean data, whatever the schedule says of t = 0.
            noise: this call's own, one row for each sample.
        """

    def without(self, z: Tensor) -> Tensor | None:
        """Return states z [B, *D] as one would have them who knows nothing of this, for guidance towards it.

        None if there are no such states.
        """
        return None

    def walk(self, sampler: Sampler) -> Walk:
        """Return the walk on which samples are drawn under this constraint; by default that of the sampler."""
        return sampler


class DenoiserTransform(ABC):
    """Denoiser → denoiser. Transforms are applied in the order of the config groups: guidance, then clip.

    Attributes:
        clips: whether predicted data is kept within bounds.
    """

    clips: bool = False

    @property
    def facts(self) -> dict[str, float]:
        """The numbers of it that a person wants to see beside samples, by name."""
        return {}

    @abstractmethod
    def __call__(self, denoiser: DenoiserFn, constraint: Constraint | None = None) -> DenoiserFn:
        """Return a denoiser that changes the predictions of `denoiser`, by way of `Prediction.with_x0`.

        Args:
            denoiser: the one to change.
            constraint: what is known of the samples that are drawn with it; None without any.
        """
