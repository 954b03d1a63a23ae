"""Whether the process of a run's session still exists, from what the manifest records of it."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Seconds. A process whose recorded session started earlier than the process by more than this is another process: the
#: two times are by clocks that differ a little.
_CLOCK_TOLERANCE = 5.0


def process_is_gone(session: Mapping[str, Any]) -> bool:
    """Return whether the process of a session that did not record its end is known to have ended."""
    process, host = session.get("process_id"), session.get("host")
    if host not in (None, platform.node()) or not isinstance(process, int):
        return False  # processes of another machine cannot be looked up
    began = _process_start(process)
    if began is None:
        return True
    started = time_of(session.get("started"))
    # The number may belong to another process by now, which began after the session.
    return started is not None and began > started.timestamp() + _CLOCK_TOLERANCE


def time_of(text: Any) -> datetime.datetime | None:
    """Return a recorded ISO time, in UTC if it names no zone; None if it is no time."""
    try:
        time = datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _process_start(process: int) -> float | None:
    """Return when a process began, in seconds since 1970; 0 if that is unknown, None if there is no such process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except (OSError, OverflowError):  # it is another user's process
        pass
    try:
        ticks = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[19]
        boot = next(line for line in Path("/proc/stat").read_bytes().splitlines() if line.startswith(b"btime"))
        return int(boot.split()[1]) + int(ticks) / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, IndexError, ValueError):
        return 0.0
