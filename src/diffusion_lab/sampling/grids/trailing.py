"""Even steps that start at pure noise (Lin et al. 2023, table 2)."""

from __future__ import annotations

from diffusion_lab.sampling.grids.base import TimeGrid


class Trailing(TimeGrid):
    """Even steps in t from 1 down to 0.

    For 1000 rows and 10 steps the step indices i = t·1000 − 1 are 999, 899, …, 99. Where the schedule has T steps, the
    nearest of its rows are taken.
    """

    def times(self, num_steps: int) -> list[float]:
        if self.schedule.steps is None:
            return [k / num_steps for k in range(num_steps, 0, -1)]
        self.check_rows(num_steps)
        return [round(self.rows * k / num_steps) / self.rows for k in range(num_steps, 0, -1)]
