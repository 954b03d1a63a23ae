"""The seam that every time grid fills."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence

from diffusion_lab.schedules import Schedule

#: The number of rows on which grids of whole steps lie where the schedule's time is continuous.
CONTINUOUS_ROWS = 1000

#: A recorded number of steps is a claim, and a grid holds a pair of times for each of them.
MOST_STEPS = 100_000


class TimeGrid(ABC):
    """Which times a sampler visits.

    Args:
        schedule: of the process.

    Attributes:
        rows: the number of steps of the schedule, or 1000 where its time is continuous.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.rows = schedule.steps or CONTINUOUS_ROWS

    @abstractmethod
    def times(self, num_steps: int) -> Sequence[float]:
        """Return the falling times in [0, 1] at which each of `num_steps` steps starts.

        Raises:
            ValueError: if there is no such grid.
        """

    def steps(self, num_steps: int) -> list[tuple[float, float]]:
        """Return pairs (t, s), the times at which each step starts and ends; the last one ends at 0.

        Where t = 0 is not clean data, the last pair is (t, t), which stands for the step to clean data.

        Raises:
            ValueError: naming the keys, if there is no such grid.
        """
        if not 1 <= num_steps <= MOST_STEPS:
            raise ValueError(f"sampler.num_steps must lie between 1 and {MOST_STEPS}, got {num_steps}")
        times = [float(t) for t in self.times(num_steps)]
        pairs = list(itertools.pairwise([*times, 0.0 if self.schedule.ends_clean else times[-1]]))
        if len(pairs) != num_steps or any(not t > s for t, s in pairs[:-1]):
            raise ValueError(f"grid={type(self).__name__} has no {num_steps} different times (sampler.num_steps)")
        return pairs

    def check_rows(self, num_steps: int) -> None:
        """Raise ValueError, naming the key, if there are fewer rows than steps."""
        if num_steps > self.rows:
            named = f"schedule.steps={self.rows}" if self.schedule.steps else f"the grid's {self.rows} rows"
            raise ValueError(f"sampler.num_steps must lie between 1 and {named}, got {num_steps}")
