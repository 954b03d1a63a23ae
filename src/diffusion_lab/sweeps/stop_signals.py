"""Forwards Ctrl-C and SIGTERM from a sweep to the processes of its running jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any


class StopSignals:
    """The signals that have asked a sweep to stop, and the job processes that they are forwarded to.

    The first signal lets each job save and stop, the second stops it at once, the third kills it. Each job's process
    runs in its own session, so the terminal does not send it Ctrl-C, and it receives each signal once, from here.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.processes: list[subprocess.Popen[Any]] = []

    @property
    def received(self) -> bool:
        """Whether any signal has come, so that the jobs are to stop."""
        return bool(self.signals)

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Forward the signal; this is a signal handler."""
        self.signals.append(number)
        for process in self.processes:
            process.send_signal(number if len(self.signals) < 3 else signal.SIGKILL)

    @contextlib.contextmanager
    def handlers_installed(self) -> Iterator[None]:
        """Handle this process's SIGINT and SIGTERM inside the block. Call it in the main thread."""
        previous = {number: signal.signal(number, self.handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def forwarded_to(self, process: subprocess.Popen[Any]) -> Iterator[None]:
        """Forward signals to `process` inside the block, and the last one of those that have come before."""
        self.processes.append(process)
        try:
            if self.signals:
                process.send_signal(self.signals[-1])
            yield
        finally:
            self.processes.remove(process)

    def wait_for_processes(self) -> None:
        """Wait until the processes have ended. Safe inside a signal handler."""
        for process in self.processes:
            # Not `process.wait`, which the handler may have interrupted while it held its lock.
            with contextlib.suppress(ChildProcessError):
                while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                    time.sleep(0.1)
