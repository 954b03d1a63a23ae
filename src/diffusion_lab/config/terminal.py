"""stdout and stderr that take any text: what a terminal cannot show is replaced, and nobody has to read to the end."""

from __future__ import annotations

import io
import os
import stat
import sys
from typing import Any


def take_any_text() -> None:
    """Let nothing fail because of what stdout and stderr are.

    Signs that their encoding does not have become «?», and what is written after a pipe's reader has gone, as after
    ``| head -3``, is dropped: whoever stops reading does not end what is running.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if _is_pipe(stream) and not isinstance(getattr(stream.buffer, "raw", None), _Droppable):
            stream.flush()
            raw = _Droppable(stream.fileno(), "w", closefd=False)
            stream = io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, line_buffering=stream.line_buffering)
            setattr(sys, name, stream)
        stream.reconfigure(errors="replace")


class _Droppable(io.FileIO):
    """The end of a pipe that is written to, of which the reader may go."""

    def write(self, data: Any) -> int:
        """Write, or drop what nobody reads."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _is_pipe(stream: io.TextIOWrapper) -> bool:
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):  # a stream in memory
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
