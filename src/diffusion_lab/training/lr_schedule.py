"""Schedule of the learning rate over training."""

from __future__ import annotations

import math


class LearningRateSchedule:
    """Linear warm-up, then a constant rate or a cosine decay (Loshchilov & Hutter 2017, without restarts).

    Args:
        warmup_steps: number of optimizer steps over which the rate rises linearly.
        decay_steps: the step, counted from the start of training, at which the decay is complete; None for no
            decay. It does not depend on the length of training, so that a run can be trained further.
        final_fraction: the factor of the rate from that step on, in [0, 1].

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(self, warmup_steps: int = 0, decay_steps: int | None = None, final_fraction: float = 0.0) -> None:
        if warmup_steps < 0:
            raise ValueError(f"lr_schedule.warmup_steps must not be negative, got {warmup_steps}")
        if decay_steps is not None and decay_steps <= warmup_steps:
            raise ValueError(
                f"lr_schedule.decay_steps must be larger than lr_schedule.warmup_steps={warmup_steps}, "
                f"got {decay_steps}"
            )
        if not 0 <= final_fraction <= 1:
            raise ValueError(f"lr_schedule.final_fraction must lie between 0 and 1, got {final_fraction}")
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps
        self.final_fraction = final_fraction

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate for the optimizer step numbered `step`, from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.decay_steps is None:
            return 1.0
        progress = min(1.0, (step - self.warmup_steps) / (self.decay_steps - self.warmup_steps))
        return self.final_fraction + (1 - self.final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))
