"""Snapshots of a draw on its way from noise to data."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffusion_lab.sampling.loop import Step


@dataclass
class Trajectory:
    """Records the state that a draw starts from, and whenever another 1/`frames` of the time has passed.

    Its `record` is called after each step. What a constraint knows is in the first state already. With 10 frames of a
    draw of 1000 steps the kept step indices are 900, 800, …, 0, as in the tutorial. The last state is always that of
    the last step.

    Args:
        frames: how many states to keep after the start.
        keep: of the first so many samples.

    Attributes:
        states: [keep, *D] each, on the CPU.
        times: the time t of each state.
        steps: how many steps the draw has.
    """

    frames: int
    keep: int
    states: list[Tensor] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    steps: int = 0
    _confidence: list[Tensor | None] = field(default_factory=list)
    _latest: Tensor | None = None

    @property
    def confidence(self) -> list[Tensor]:
        """For each state [keep, *D] float32, how probable what stands there was when it was last predicted.

        NaN where nothing that stands there was predicted, as at masks and at what was given; empty for states that
        are numbers.
        """
        if self._latest is None:
            return []
        unknown = torch.full_like(self._latest, torch.nan, device="cpu")
        return [unknown if known is None else known for known in self._confidence]

    def record(self, step: Step, confidence: Tensor | None = None) -> None:
        """Record the state after a step, if it is one of those to keep.

        Args:
            step: that was taken.
            confidence: [B, *D] as `Process.confidence` returns it for this step.
        """
        if not self.states:
            self.steps = step.total
            self._add(step.before, 1.0)
        self._follow(step, confidence)
        remaining = self.frames + 1 - len(self.states)
        if step.s * self.frames <= remaining - 1 + 1e-9:
            self._add(step.z, step.s)
        elif step.number == step.total - 1:
            if self.times[-1] == step.s:  # a second step to the same time: the last state is the sample
                for kept in (self.states, self.times, self._confidence):
                    del kept[-1]
            self._add(step.z, step.s)

    def _follow(self, step: Step, confidence: Tensor | None) -> None:
        """Keep the confidence in what a step left as it was and did not predict again."""
        if confidence is None and self._latest is None:
            return
        changed = (step.z != step.before)[: self.keep]
        now = torch.full_like(changed, torch.nan, dtype=torch.float32)
        if confidence is not None:
            now = confidence[: self.keep].float()
        old = torch.full_like(now, torch.nan) if self._latest is None else self._latest
        self._latest = torch.where(changed | ~now.isnan(), now, old)

    def _add(self, z: Tensor, time: float) -> None:
        self.states.append(z[: self.keep].cpu())
        self.times.append(time)
        self._confidence.append(None if self._latest is None else self._latest.cpu())
