"""Even steps that end at the first row (Ho et al. 2020's code, DDIM and many since; Lin et al. 2023, table 2)."""

from __future__ import annotations

from diffusion_lab.sampling.grids.base import TimeGrid


class Leading(TimeGrid):
    """The rows of step indices 0, c, 2c, … with c = T/num_steps, rounded down.

    For 1000 rows and 10 steps the step indices are 900, 800, …, 0: the noise that sampling starts from is taken for a
    state at t = 0.901, though it has less signal than that; other grids do not have this flaw.
    """

    def times(self, num_steps: int) -> list[float]:
        self.check_rows(num_steps)
        stride = self.rows // num_steps
        return [(k * stride + 1) / self.rows for k in range(num_steps - 1, -1, -1)]
