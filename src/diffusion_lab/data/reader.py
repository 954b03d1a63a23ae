"""Reads stored items ahead of time, in worker processes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from diffusion_lab.data.split import Stored, UnreadableItemsError
from diffusion_lab.errors import LabError
from diffusion_lab.machine.parent_watch import watch_parent

#: How many chunks each worker has read before they are asked for.
_AHEAD = 2

#: How long a worker goes on after SIGTERM, for the step that the run finishes and saves.
_SECONDS_AFTER_SIGTERM = 30

_SIGNALS_OF_THE_RUN = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Reader:
    """Reads chunks of rows in the order in which they are asked for, whatever the number of processes.

    Args:
        stored: the items.
        workers: how many processes read; 0 for this one. They start with the first chunk and stay until `close`.
        hashes: whether to return the hash of each item as well.
        pin_memory: whether chunks lie in memory from which a GPU copies at once.
    """

    def __init__(self, stored: Stored, workers: int, hashes: bool = False, pin_memory: bool = False) -> None:
        self._rows = _Rows(stored, hashes)
        self._order = _Order()
        self._loader: DataLoader | None = None
        if workers:
            self._loader = DataLoader(
                self._rows,
                batch_sampler=self._order,
                num_workers=workers,
                collate_fn=_unchanged,
                # Not a fork server, of which the workers would be children.
                multiprocessing_context="fork" if sys.platform == "linux" else "spawn",
                worker_init_fn=partial(_begin, os.getpid()),
                persistent_workers=True,
                prefetch_factor=_AHEAD,
                pin_memory=pin_memory,
                generator=torch.Generator(),  # torch's own generator is left alone
            )

    def __call__(self, chunks: Iterable[list[int]]) -> Iterator[Any]:
        """Yield, for each chunk of row numbers, its items [n, *], or (items, hashes).

        Raises:
            UnreadableItemsError: naming the items of the chunk that cannot be read.
            LabError: if a worker was lost.
        """
        for found in self.attempts(chunks):
            if isinstance(found, UnreadableItemsError):
                raise found
            yield found

    def attempts(self, chunks: Iterable[list[int]]) -> Iterator[Any]:
        """Yield the same, and instead of a chunk with items that cannot be read, the error that names them.

        Raises:
            LabError: if a worker was lost.
        """
        if self._loader is None:
            yield from map(_found, map(self._rows.__getitems__, chunks))
            return
        self._order.chunks = chunks
        try:
            with _signals_held():
                batches = iter(self._loader)
            yield from map(_found, batches)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            text = " ".join(str(error).split())[:200]
            raise LabError(
                f"a process that reads the data was lost ({text}): fewer of them (data.workers=…) or a smaller "
                "data.batch_size take less memory; data.workers=0 reads in the run's own process"
            ) from error

    def close(self) -> None:
        """End the worker processes."""
        iterator = None if self._loader is None else self._loader._iterator
        if iterator is not None:
            assert self._loader is not None
            iterator._shutdown_workers()  # type: ignore[attr-defined]
            for worker in iterator._workers:  # type: ignore[attr-defined]
                if worker.is_alive():  # it was asked to end, and has had five seconds
                    worker.kill()
            self._loader._iterator = None


class _Order:
    """The chunks to come, which the loader's iterator takes when it begins."""

    chunks: Iterable[list[int]] = ()

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.chunks)


@dataclass(frozen=True)
class _Unreadable:
    """The value that a worker returns for an error: an exception would come with its traceback as text."""

    items: list[str]


class _Rows(Dataset):
    def __init__(self, stored: Stored, hashes: bool) -> None:
        self._stored = stored
        self._hashes = hashes

    def __getitems__(self, rows: list[int]) -> Any:
        chosen = self._stored[torch.tensor(rows)]
        try:
            return chosen.read_with_hashes() if self._hashes else chosen.read()
        except UnreadableItemsError as error:
            return _Unreadable(error.items)


def _unchanged(chunk: Any) -> Any:
    return chunk


def _found(chunk: Any) -> Any:
    return UnreadableItemsError(chunk.items) if isinstance(chunk, _Unreadable) else chunk


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let signals wait while workers start, which take over the wait until they have their handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_SIGNALS_OF_THE_RUN, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(parent: int, worker: int) -> None:
    """Let a worker live as long as the run: it ends when the run was killed.

    Signals that are sent to all processes at once are ignored, since the run needs data for the step that it finishes.
    """
    watch_parent(parent, exit_after=0)
    for number in _SIGNALS_OF_THE_RUN:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_SECONDS_AFTER_SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_SIGNALS_OF_THE_RUN, signal.SIGTERM))
