"""Pool of the cores and GPUs of this machine: a job locks those that it uses, so that no other job takes them.

The locks are flock(2) locks on files in one folder per machine and user. The system releases those of a process that
has ended, however it ended, and jobs of several sweeps, started in several terminals, respect each other's locks.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from diffusion_lab.errors import LabError
from diffusion_lab.machine.file_lock import Lock

#: Seconds between two attempts to take what other jobs hold.
POLL_SECONDS = 0.2

#: Seconds for which a request may wait for its turn before that is reported: most turns take only milliseconds.
_QUIET_SECONDS = 0.3


class Pool:
    """The cores and GPUs that the sweeps of this user on this machine share.

    Args:
        directory: folder of the lock files; by default, one in the system's folder for temporary files.

    Raises:
        LabError: if the directory cannot be created or belongs to another user.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or Path(tempfile.gettempdir()) / f"diffusion-lab-{os.getuid()}"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self.directory.lstat().st_uid
        except OSError as error:
            raise LabError(f"cannot create {self.directory} for the locks of sweeps: {error.strerror}") from error
        if owner != os.getuid():
            raise LabError(f"{self.directory}, the folder of the locks of your sweeps, belongs to another user")

    def take(
        self,
        kind: str,
        names: Sequence[str],
        count: int,
        stopped: Callable[[], bool],
        waiting: Callable[[], None],
    ) -> dict[str, Lock] | None:
        """Wait until `count` resources of one kind are free, and lock them all at once.

        Requests of the same `kind` are served in turn: one for many resources is not overtaken by later ones for few.

        Args:
            kind: ``core`` or ``gpu``; part of the lock files' names.
            names: names of all resources of this kind on this machine.
            count: number of resources to lock, at most that of `names`.
            stopped: returns whether to stop waiting.
            waiting: called once, when the resources are found to be in use, or when its turn is long in coming.

        Returns:
            The locks by name; None if waiting was stopped.
        """
        if not count:
            return {}
        turn: Lock | None = None
        announced, start = False, time.monotonic()
        try:
            while True:
                turn = turn or Lock.take(self.directory / f"{kind}.turn")
                held = self._take_now(kind, names, count) if turn else None
                if held is not None:
                    return held
                if stopped():
                    return None
                if not announced and (turn or time.monotonic() - start > _QUIET_SECONDS):
                    waiting()
                    announced = True
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
