"""The limit of a run's training time, `trainer.max_time`, and whether it ended the training."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer


def seconds(max_time: Any) -> float:
    """Return a limit of time in seconds; infinite for None.

    Args:
        max_time: a text ``DD:HH:MM:SS``, or a mapping of `datetime.timedelta`'s arguments, as Lightning takes it.

    Raises:
        ValueError: naming the key, if it is neither.
    """
    if max_time is None:
        return math.inf
    try:
        if isinstance(max_time, str):
            days, hours, minutes, rest = map(int, max_time.split(":"))
            span = datetime.timedelta(days=days, hours=hours, minutes=minutes, seconds=rest)
        else:
            span = datetime.timedelta(**max_time)
        if span <= datetime.timedelta():
            raise ValueError("it is no time")
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"trainer.max_time={max_time}: it must be days, hours, minutes and seconds, such as 00:01:30:00"
        ) from error
    return span.total_seconds()


def stopped_by(trainer: pl.Trainer) -> str | None:
    """Return what ended a training before its limits of epochs and steps: ``max_time``, ``early_stopping`` or None."""
    if not trainer.should_stop:
        return None
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    if any((left := timer.time_remaining()) is not None and left <= 0 for timer in timers):
        return "max_time"
    return "early_stopping"
