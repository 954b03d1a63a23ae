"""The processes that a run starts beside its own, and what becomes of the others when one of them is lost."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.distributed import _set_num_threads_if_needed
from pytorch_lightning.strategies import ParallelStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.parent_watch import watch_parent

#: How long a process is given to end by itself when the others have.
GRACE_SECONDS = 5.0

#: How long a process waits before it tells of an error, so that rank 0 may tell first and end it.
SECOND_TO_RANK_ZERO = 4.0

#: How long after a connection broke the process that broke it may still be seen to live.
_LAST_BREATH = 2.0
_POLL_SECONDS = 0.2


class Launcher(_SubprocessScriptLauncher):
    """Starts the other processes of this machine with a command of ours, and ends them with the run.

    Lightning's own repeats the command line, `-m` included, and kills the whole run without a word when a
    process is lost.

    Args:
        strategy: of the trainer.
        command: what the other processes run.
        on_lost: told, in a thread, of a lost process that leaves rank 0 waiting for ever; the program ends
            after it.
    """

    def __init__(self, strategy: ParallelStrategy, command: Sequence[str], on_lost: Callable[[str], None]) -> None:
        assert strategy.cluster_environment is not None
        assert strategy.parallel_devices is not None
        super().__init__(strategy.cluster_environment, len(strategy.parallel_devices), num_nodes=1)
        self.command = list(command)
        self.on_lost = on_lost
        self._over = threading.Event()

    def launch(self, function: Callable[..., Any], *args: Any, trainer: pl.Trainer | None = None, **kwargs: Any) -> Any:
        """Start the processes and do the work. If that fails, none of them is left; else `end` is still to be called.

        Raises:
            LabError: if the work failed because a process was lost.
        """
        _set_num_threads_if_needed(self.num_processes)  # the processes share the cores
        self._start()
        threading.Thread(target=self._watch, name="lost-process-watch", daemon=True).start()
        try:
            return function(*args, **kwargs)
        except (KeyboardInterrupt, SystemExit):
            self.end(wait=0)
            raise
        except RunInterrupted:
            self.end()
            raise
        except Exception as error:
            # The error of a broken connection comes a moment before the process that broke it is gone.
            lost = None if isinstance(error, LabError) else self._lost(wait=_LAST_BREATH)
            self.end(wait=0)
            if lost is not None:
                raise LabError(lost) from error
            raise

    def end(self, wait: float = GRACE_SECONDS) -> None:
        """Wait so many seconds for the processes to end by themselves, and kill those that have not."""
        self._over.set()
        end = time.monotonic() + wait
        for process in self.procs:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> None:
        self._check_can_spawn_children()
        environment = self.cluster_environment
        shared = {
            **os.environ,
            "MASTER_ADDR": environment.main_address,
            "MASTER_PORT": str(environment.main_port),
            "NODE_RANK": "0",
            "WORLD_SIZE": str(self.num_processes),
        }
        for rank in range(1, self.num_processes):
            self.procs.append(subprocess.Popen(self.command, env={**shared, "LOCAL_RANK": str(rank)}))

    def _watch(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            lost = self._lost()
            if lost is not None:
                if not self._over.wait(GRACE_SECONDS):  # rank 0 waits in a collective for what will never come
                    for process in self.procs:
                        process.kill()
                    self.on_lost(lost)
                    os._exit(1)
                return

    def _lost(self, wait: float = 0.0) -> str | None:
        """What happened to the first process that ended in any other way than well; `wait` for it so long."""
        end = time.monotonic() + wait
        while True:
            for rank, process in enumerate(self.procs, start=1):
                status = process.poll()
                if status:
                    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
                    return f"process {rank} of {self.num_processes} {how}, and the run with it"
            if time.monotonic() >= end:
                return None
            time.sleep(_POLL_SECONDS)


def end_with_parent() -> None:
    """End this process when the one that started it is gone, even if it is waiting for it in a collective."""
    watch_parent(os.getppid(), exit_after=GRACE_SECONDS)
