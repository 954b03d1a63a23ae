"""A run's processes: which one speaks, how the others come to join, and what is left of them in the end."""

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
from diffusion_lab.machine.rank_launcher import SECOND_TO_RANK_ZERO, Launcher


def is_rank_zero() -> bool:
    """Whether this process is the one that speaks and writes."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextlib.contextmanager
def environment_restored(trainer: pl.Trainer) -> Iterator[None]:
    """Afterwards nothing is left of several processes: the next job of a sweep may have another number of them."""
    environment, threads = dict(os.environ), torch.get_num_threads()
    try:
        yield
        if isinstance(trainer.strategy.launcher, Launcher):
            trainer.strategy.launcher.end()
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does, and not the process at once."""

    def stop(number: int, frame: Any) -> None:
        raise RunInterrupted(signal_number=number)

    if threading.current_thread() is not threading.main_thread():  # its owner decides about signals
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def second_to_rank_zero() -> Iterator[None]:
    """What all processes meet, rank 0 tells, and ends the others; an error of one's own is told after it."""
    try:
        yield
    except (RunInterrupted, KeyboardInterrupt) as interruption:
        if is_rank_zero():
            raise
        sys.exit(getattr(interruption, "status", INTERRUPTED_STATUS))
    except Exception:
        if not is_rank_zero():
            time.sleep(SECOND_TO_RANK_ZERO)
        raise
