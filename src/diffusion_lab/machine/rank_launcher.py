"""Start and end the other processes (ranks) of a run on one machine, and end the run when one of them is lost."""

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

#: How long a process may take to end by itself after the others have ended.
GRACE_SECONDS = 5.0

#: How long a rank other than 0 waits before it reports an error, so that rank 0 can report it first and end the others.
REPORT_DELAY_SECONDS = 4.0

#: How long a process that was lost may still appear to run after its connections broke.
_EXIT_DELAY_SECONDS = 2.0
_POLL_SECONDS = 0.2


class RankLauncher(_SubprocessScriptLauncher):
    """Starts the other processes of this machine with a given command, and ends them with the run.

    Lightning's own launcher repeats the command line, `-m` included, and kills the whole run without a message when
    a process is lost.

    Args:
        strategy: the trainer's strategy.
        command: the command that each of the other processes runs.
        on_lost: called in a thread, with a description, when a process was lost and rank 0 would wait for it for
            ever; the program ends afterwards.
    """

    def __init__(self, strategy: ParallelStrategy, command: Sequence[str], on_lost: Callable[[str], None]) -> None:
        assert strategy.cluster_environment is not None
        assert strategy.parallel_devices is not None
        super().__init__(strategy.cluster_environment, len(strategy.parallel_devices), num_nodes=1)
        self.command = list(command)
        self.on_lost = on_lost
        self._over = threading.Event()

    def launch(self, function: Callable[..., Any], *args: Any, trainer: pl.Trainer | None = None, **kwargs: Any) -> Any:
        """Start the processes and call `function`.

        If it fails, the processes are ended; otherwise the caller has to call `end`.

        Raises:
            LabError: if it failed because a process was lost.
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
            # A broken connection is noticed a moment before the process at its other end is gone.
            lost = None if isinstance(error, LabError) else self._lost(wait=_EXIT_DELAY_SECONDS)
            self.end(wait=0)
            if lost is not None:
                raise LabError(lost) from error
            raise

    def end(self, wait: float = GRACE_SECONDS) -> None:
        """Wait up to `wait` seconds for the processes to end by themselves, then kill those that have not."""
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
                if not self._over.wait(GRACE_SECONDS):  # rank 0 hangs in a collective operation
                    for process in self.procs:
                        process.kill()
                    self.on_lost(lost)
                    os._exit(1)
                return

    def _lost(self, wait: float = 0.0) -> str | None:
        """Describe how a process was lost: the first one found that ended with an error.

        Returns None if none is found within `wait` seconds.
        """
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
