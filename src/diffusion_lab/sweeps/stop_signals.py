"""Ctrl-C and SIGTERM, passed on to the processes of the jobs under way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Stop:
    """Whether the jobs are to stop: false until a signal comes.

    The first signal lets each job save and stop, the second stops it at once, the third kills it. The jobs' processes
    are in sessions of their own, so that they get each signal once, from here.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.processes: list[subprocess.Popen[Any]] = []

    def __bool__(self) -> bool:
        return bool(self.signals)

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Pass the signal on. A handler of signals."""
        self.signals.append(number)
        for process in self.processes:
            process.send_signal(number if len(self.signals) < 3 else signal.SIGKILL)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals of this process. For its main thread."""
        previous = {number: signal.signal(number, self.handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def passed_on_to(self, process: subprocess.Popen[Any]) -> Iterator[None]:
        """Let the process have the signals of this time, and one that has come already."""
        self.processes.append(process)
        try:
            if self.signals:
                process.send_signal(self.signals[-1])
            yield
        finally:
            self.processes.remove(process)

    def wait(self) -> None:
        """Until the processes have ended; within a handler of signals, too."""
        for process in self.processes:
            # Not `process.wait`, which the handler may have interrupted while it held its lock.
            with contextlib.suppress(ChildProcessError):
                while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                    time.sleep(0.1)
