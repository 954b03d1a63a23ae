"""What jobs on one machine share, cores and GPUs, each behind a lock that is held by whoever uses it.

The locks are flock(2) on files in a folder of this machine and user. A process that is gone, however it ended, holds
none any more; and jobs of several sweeps, started in several terminals, see each other's.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from diffusion_lab.errors import LabError
from diffusion_lab.machine.file_lock import Lock

#: Between two looks at what others hold.
POLL_SECONDS = 0.2


class Pool:
    """The cores and GPUs of this machine, as far as sweeps of this user share them.

    Args:
        directory: where the lock files lie; below the folder for temporary files if none is given.

    Raises:
        LabError: if the directory belongs to somebody else.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or Path(tempfile.gettempdir()) / f"diffusion-lab-{os.getuid()}"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self.directory.lstat().st_uid
        except OSError as error:
            raise LabError(f"cannot make {self.directory} for the locks of sweeps: {error.strerror}") from error
        if owner != os.getuid():
            raise LabError(f"{self.directory} is meant for the locks of your sweeps, and belongs to somebody else")

    def take(
        self,
        kind: str,
        names: Sequence[str],
        count: int,
        stopped: Callable[[], bool],
        waiting: Callable[[], None],
    ) -> dict[str, Lock] | None:
        """Wait for `count` of what is called `names`, and take them, all at once.

        Who waits for many is served before those that come later and want few of the same `kind`.

        Args:
            kind: such as ``core``; part of the files' names.
            names: what there is of it on this machine.
            count: how many are needed, at most as many as there are.
            stopped: whether to give up waiting.
            waiting: called once, before the first wait.

        Returns:
            The locks by name; None if it was stopped.
        """
        if not count:
            return {}
        turn: Lock | None = None
        said = False
        try:
            while True:
                turn = turn or Lock.take(self.directory / f"{kind}.turn")
                held = self._take_now(kind, names, count) if turn else None
                if held is not None:
                    return held
                if stopped():
                    return None
                if not said:
                    waiting()
                    said = True
                time.sleep(POLL_SECONDS)
        finally:
            if turn is not None:
                turn.release()

    def _take_now(self, kind: str, names: Sequence[str], count: int) -> dict[str, Lock] | None:
        held: dict[str, Lock] = {}
        for name in names:
            lock = Lock.take(self.directory / f"{kind}-{name}")
            if lock is not None:
                held[name] = lock
            if len(held) == count:
                return held
        for lock in held.values():
            lock.release()
        return None
