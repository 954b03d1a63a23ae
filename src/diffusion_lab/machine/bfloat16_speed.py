"""How fast bfloat16 is beside float32 on this processor, by a short timing.

Where the processor or this build of torch has no instructions for bfloat16, convolutions in it are many times slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

#: From this ratio of the durations on, float32 is clearly faster.
_CLEARLY = 1.2
#: How often each precision is timed at most.
_TURNS = 7


def slowdown(float32: Sequence[float], bfloat16: Sequence[float]) -> float | None:
    """Return how many times as long bfloat16 takes, where float32 is clearly faster; else None.

    It is where each turn says so, and the median says so by a fifth.

    Args:
        float32, bfloat16: durations of the same work in turns, in seconds; those of one turn belong together.
    """
    ratios = [slow / fast for fast, slow in zip(float32, bfloat16, strict=True)]
    return median(ratios) if min(ratios) > 1 and median(ratios) >= _CLEARLY else None


def time_in_turns(
    float32: Callable[[int], object], bfloat16: Callable[[int], object], size: int, seconds: float
) -> tuple[list[float], list[float]]:
    """Time work on `size` samples in both precisions, or on fewer where so many would take longer than `seconds`.

    Fewer are a poor substitute: with a U-Net, bfloat16 can be slower on a quarter of a batch and faster on all of it.

    Args:
        float32, bfloat16: do the work on as many samples as they are told.
        size: the number of samples, at least 1.
        seconds: how long it may take, about; at least one turn is timed.

    Returns:
        The durations in float32 and in bfloat16, in seconds: at least one of each, and as many.
    """
    end = time.perf_counter() + seconds
    samples = 1
    while True:  # The first pass at each size, which also sets things up, shows whether a larger one and a turn fit.
        taken = _duration(float32, samples) + _duration(bfloat16, samples)
        larger = min(4 * samples, size)
        if samples == size or time.perf_counter() + 2 * taken * larger / samples > end:
            break
        samples = larger
    turns: list[tuple[float, float]] = []
    while not turns or (len(turns) < _TURNS and time.perf_counter() < end):
        turns.append((_duration(float32, samples), _duration(bfloat16, samples)))
    return [fast for fast, _ in turns], [slow for _, slow in turns]


def _duration(work: Callable[[int], object], samples: int) -> float:
    start = time.perf_counter()
    work(samples)
    return time.perf_counter() - start
