"""Pictures of a draw on its way from noise to data."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from diffusion_lab.sampling.loop import Step


@dataclass
class Trajectory:
    """Records the state at the start, and whenever another 1/`frames` of the time has passed.

    Its `record` is called after each step. With 10 frames of a draw of 1000 steps the kept step indices are
    900, 800, …, 0, as in the tutorial. The last state is always that of the last step.

    Args:
        frames: how many states to keep after the start.
        keep: of the first so many samples.

    Attributes:
        states: [keep, *D] each, on the CPU.
        times: the time t of each state.
    """

    frames: int
    keep: int
    states: list[Tensor] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def start(self, z: Tensor) -> None:
        """Record the state at t = 1."""
        self._add(z, 1.0)

    def record(self, step: Step) -> None:
        """Record the state after a step, if it is one of those to keep."""
        remaining = self.frames + 1 - len(self.states)
        if step.s * self.frames <= remaining - 1 + 1e-9:
            self._add(step.z, step.s)
        elif step.number == step.total - 1:  # a second step to the same time: the last state is the sample
            self.states[-1] = step.z[: self.keep].cpu()

    def _add(self, z: Tensor, time: float) -> None:
        self.states.append(z[: self.keep].cpu())
        self.times.append(time)
