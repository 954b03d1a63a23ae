"""Even steps from the last row to the first (Nichol & Dhariwal 2021; Lin et al. 2023, table 2)."""

from __future__ import annotations

from diffusion_lab.sampling.grids.base import TimeGrid


class Linspace(TimeGrid):
    """Step indices evenly spaced from T − 1 to 0, both included, and rounded to rows where the schedule has T steps.

    For 1000 rows and 10 steps they are 999, 888, …, 0.
    """

    def times(self, num_steps: int) -> list[float]:
        self.check_rows(num_steps)
        last = self.rows - 1
        indices = [last * (1 - k / max(num_steps - 1, 1)) for k in range(num_steps)]
        if self.schedule.steps is not None:
            indices = [round(index) for index in indices]
        return [(index + 1) / self.rows for index in indices]
