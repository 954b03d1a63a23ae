"""Steps that shorten towards clean data, as squares (Song et al. 2021, DDIM, appendix D.2)."""

from __future__ import annotations

from diffusion_lab.sampling.grids.base import TimeGrid


class Quadratic(TimeGrid):
    """t = (k/num_steps)², for k = num_steps, …, 1; at the nearest different row where the schedule has T steps.

    DDIM's own begins at 0.8 T; this one begins at pure noise.
    """

    def times(self, num_steps: int) -> list[float]:
        if self.schedule.steps is None:
            return [(k / num_steps) ** 2 for k in range(num_steps, 0, -1)]
        self.check_rows(num_steps)
        rows: list[int] = []
        for k in range(1, num_steps + 1):
            rows.append(max(round(self.rows * (k / num_steps) ** 2), rows[-1] + 1 if rows else 1))
        return [row / self.rows for row in reversed(rows)]
