"""How much memory a process of this machine, or of its container, can still take."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from diffusion_lab.errors import LabError

_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Return a number of bytes: what Linux calls available, within the container's limit; elsewhere all there is."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        pass  # no Linux
    try:
        limit, used = ((_CGROUP / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current"))
        found.append(int(limit) - int(used))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return max(0, min(found))


def check_samples_fit(key: str, count: int, shape: Sequence[int]) -> None:
    """Check that samples fit into memory, where they are together before they are written.

    Args:
        key: of their number in the config, for the message.
        count: of samples.
        shape: of one sample, of four bytes for each number.

    Raises:
        LabError: naming the key, if they are larger than what this process can still take.
    """
    needed, there = 4 * count * math.prod(shape), available_memory()
    if needed > there:
        raise LabError(f"{key}={count}: they take {needed / 1e9:,.3g} GB, and {there / 1e9:,.3g} GB are free")
