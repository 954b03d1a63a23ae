"""The processes (ranks) of a run: which one reports and writes, how signals stop them, and what is restored after."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from diffusion_lab.errors import INTERRUPTED_STATUS, RunInterrupted
from diffusion_lab.machine.rank_launcher import REPORT_DELAY_SECONDS, RankLauncher


def is_rank_zero() -> bool:
    """Whether this process is rank 0, the one that reports and writes files."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextlib.contextmanager
def single_process_restored(trainer: pl.Trainer) -> Iterator[None]:
    """Run a block that may use several processes, and restore the state of a single one afterwards.

    The processes that the trainer started are ended, the process group is destroyed, and the environment variables
    and the number of threads are set back: the next job of a sweep may have another number of processes.
    """
    environment, threads = dict(os.environ), torch.get_num_threads()
    try:
        yield
        if isinstance(trainer.strategy.launcher, RankLauncher):
            trainer.strategy.launcher.end()
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads)


@contextlib.contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise RunInterrupted in the block, where it would otherwise end the process at once.

    Only the main thread can handle signals; in any other one this does nothing.
    """

    def interrupt(number: int, frame: Any) -> None:
        raise RunInterrupted(signal_number=number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def rank_zero_reports_first() -> Iterator[None]:
    """Let rank 0 alone report what stops all processes.

    The other ranks exit silently when they are interrupted. An error on one of them is raised after a delay, in
    which rank 0, if it has met the same error, reports it and ends the other processes.
    """
    try:
        yield
    except (RunInterrupted, KeyboardInterrupt) as interruption:
        if is_rank_zero():
            raise
        sys.exit(getattr(interruption, "status", INTERRUPTED_STATUS))
    except Exception:
        if not is_rank_zero():
            time.sleep(REPORT_DELAY_SECONDS)
        raise
