"""Stop a process when the process that started it is gone, however that one ended."""

from __future__ import annotations

import os
import signal
import threading
import time

_POLL_SECONDS = 0.2


def watch_parent(parent: int, send: signal.Signals | None = None, exit_after: float | None = None) -> None:
    """Watch, in a daemon thread, until `parent` is no longer the parent of this process; then stop this process.

    The watch also notices a parent that ended before the watch began, if `parent` was sent by the parent itself.

    Args:
        parent: process id of the parent.
        send: the signal that this process then sends to itself, so that it can save and stop; None for none.
        exit_after: the seconds after which this process is then ended with status 1, even if it is blocked in a call
            that no signal interrupts; None for never.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        if send is not None:
            os.kill(os.getpid(), send)
        if exit_after is not None:
            time.sleep(exit_after)
            os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
