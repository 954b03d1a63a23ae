"""A lock on a file that the system releases when the process that holds it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

#: How long is waited between two tries for a lock, in seconds.
_BETWEEN_TRIES = 0.2


class Lock:
    """An exclusive flock(2) lock on a file or folder, held by this process and those that inherit `descriptor`."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Lock | None:
        """Lock `path`, a folder or a file, which is created if it does not exist; return None if it is locked."""
        flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    @classmethod
    def wait_for(cls, path: Path, waiting: Callable[[], None]) -> Lock:
        """Lock `path` as soon as it is not locked; `waiting` is called once if it is at first."""
        if (lock := cls.take(path)) is None:
            waiting()
        while lock is None:
            time.sleep(_BETWEEN_TRIES)
            lock = cls.take(path)
        return lock

    def release(self) -> None:
        """Release the lock, also for the processes that inherited it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)
