"""How long training will take, judged by its first steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Steps at the start that are not counted: they compile, allocate and warm caches up.
WARM_UP = 3
#: The judgement is made after so many steps and seconds more, or after `PATIENCE` seconds.
STEPS = 20
SECONDS = 2.0
PATIENCE = 10.0


@dataclass(frozen=True)
class Forecast:
    """Attributes: `seconds` from the start to the end of training in this session, at `rate` steps per second."""

    seconds: float
    rate: float


class Estimate:
    """Measures the first steps.

    Args:
        first: the number of steps taken before this session; more than 0 when a run is resumed.
        total: the number at which training ends; infinite if it does not.
        clock: seconds.
    """

    def __init__(self, first: int, total: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.first = first
        self.total = total
        self._clock = clock
        self._begun = clock()
        self._warm: tuple[int, float] | None = None
        self._over = math.isinf(total)

    def after(self, step: int, wait: Callable[[], object]) -> Forecast | None:
        """Take note that `step` steps are done; returns the forecast once, when there is enough to judge by.

        `wait` is called twice in all, before the clock is read: it returns when the device has done its work.
        """
        if self._over or step < self.first + WARM_UP:
            return None
        if self._warm is None:
            wait()
            self._warm = step, self._clock()
            return None
        steps, seconds = step - self._warm[0], self._clock() - self._warm[1]
        if not steps or not (seconds >= PATIENCE or (steps >= STEPS and seconds >= SECONDS)):
            return None
        self._over = True
        wait()
        now = self._clock()
        rate = steps / (now - self._warm[1])
        left = max(0.0, self.total - step)
        return Forecast(now - self._begun + left / rate, rate) if left else None
