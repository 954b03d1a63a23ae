"""Estimate of the duration of training, from the speed of its first steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Number of steps at the start that are not measured: they compile, allocate memory and fill caches.
WARM_UP = 3
#: The estimate is made after at least this many measured steps and seconds, or after `PATIENCE` seconds.
STEPS = 20
SECONDS = 2.0
PATIENCE = 10.0


@dataclass(frozen=True)
class Forecast:
    """An estimate.

    Attributes:
        seconds: duration of training in this session, from its start to its end.
        rate: steps per second.
    """

    seconds: float
    rate: float


class Estimate:
    """Measures the first steps and estimates from them how long training takes.

    Args:
        first: number of steps done before this session; more than 0 when a run is resumed.
        total: number of steps after which training ends; infinite if it has no end.
        clock: returns the time in seconds.
    """

    def __init__(self, first: int, total: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.first = first
        self.total = total
        self._clock = clock
        self._begun = clock()
        self._warm: tuple[int, float] | None = None
        self._over = math.isinf(total)

    def after(self, step: int, wait: Callable[[], object]) -> Forecast | None:
        """Record that `step` steps are done; return the forecast once, when enough steps have been measured.

        `wait` must return when the device has finished its work; it is called twice in all, before the clock is read.
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
