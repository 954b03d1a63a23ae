"""A loader that knows its place: it gathers items in memory, or reads them from disk ahead of time.

Its order is a function of (seed, epoch), and its place is (epoch, batches yielded): both are in its state,
so that a resumed run goes on with the very batch that comes next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.data.reader import Reader
from diffusion_lab.data.split import Stored
from diffusion_lab.noise import Noise, derived_seed


@dataclass
class Batch:
    """One process's part of a batch.

    Attributes:
        x: [b, *D] data in its own dtype: float32 in [−1, 1] for images, int64 for categories.
        label: [b] int64; None for data without labels.
        row: [b] int64; the place of each sample in the global batch when training, in the split otherwise.
        epoch: from 0.
        index: which global batch of the epoch, from 0.
        size: the number of samples in the global batch.
    """

    x: Tensor
    label: Tensor | None
    row: Tensor
    epoch: int
    index: int
    size: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        x, row = self.x.to(device, non_blocking=True), self.row.to(device, non_blocking=True)
        label = None if self.label is None else self.label.to(device, non_blocking=True)
        return Batch(x, label, row, self.epoch, self.index, self.size)


def permutation(size: int, seed: int, *path: int | str) -> Tensor:
    """Return a permutation of range(size), [size] int64, that depends on nothing but the arguments."""
    generator = torch.Generator().manual_seed(derived_seed(seed, *path) >> 1)
    return torch.randperm(size, generator=generator)


def count_batches(size: int, batch_size: int, parts: int) -> int:
    """Return the number of global batches of `size` samples, each of which can be cut into `parts`; see `Loader`."""
    full, rest = divmod(size, batch_size)
    return (full if batch_size >= parts else 0) + (rest >= parts)


class Loader:
    """Iterates over data, in parts.

    A global batch is cut into ``ranks × micro_batches`` parts whose sizes differ by at most one; this loader
    yields those of its rank. Together the parts are the batch that a single process would see.

    Args:
        x: [N, *D] the data as it is stored, or a `Stored` of it, which gives the same batches.
        label: [N] int64, or None.
        batch_size: of the global batch.
        shuffle: a new order each epoch, from (seed, epoch); without it rows keep their place in `x`.
        seed: of the order, and of the noise for `augment`.
        rank, ranks: which process this is, of how many.
        micro_batches: into how many parts each process cuts its share, for gradient accumulation.
        to_batch: stored items → items as a batch holds them; None: unchanged.
        augment: (stored items, noise of (seed, epoch, row in `x`)) → stored items, before `to_batch`; None: unchanged.
        workers: how many processes read a `Stored`, from the first batch until `close`; 0 for this one.
        device: where batches are made; None for where `x` is.

    A last batch that is smaller than the number of parts is left out, since some part of it would be empty.
    """

    def __init__(
        self,
        x: Tensor | Stored,
        label: Tensor | None,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        micro_batches: int = 1,
        to_batch: Callable[[Tensor], Tensor] | None = None,
        augment: Callable[[Tensor, Noise], Tensor] | None = None,
        workers: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.to_batch, self.augment = to_batch, augment
        self.x, self.label = x, label
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.parts, self.micro_batches = rank, ranks * micro_batches, micro_batches
        self.device = device
        self.epoch = 0
        self._yielded = 0
        self._resumed = False
        self._reader: Reader | None = None
        if isinstance(x, Stored):
            self._reader = Reader(x, workers, pin_memory=device is not None and device.type == "cuda")
        self.batches = count_batches(len(x), batch_size, self.parts)

    def __len__(self) -> int:
        return self.batches * self.micro_batches

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing happens before the first batch is asked for, so that an iterator which is made
        # and dropped (as trainers do) moves nothing.
        if self._resumed:
            self._resumed = False
        elif self._yielded:  # the epoch before this one was cut short
            self._next_epoch()
        order = permutation(len(self.x), self.seed, "epoch", self.epoch) if self.shuffle else None
        places, ahead = tee(self._place(order, number) for number in range(self._yielded, len(self)))
        for place, stored in zip(places, self._stored(ahead), strict=True):
            self._yielded += 1
            yield self._batch(place, stored)
        self._next_epoch()

    def close(self) -> None:
        """End the processes that read."""
        if self._reader is not None:
            self._reader.close()

    def state_dict(self, unfinished: int = 0, limit: float = math.inf) -> dict[str, Any]:
        """The place: epoch and batches yielded in it. The end of an epoch is the start of the next one.

        The last so many batches as are `unfinished` are to come again, and an epoch ends after `limit` batches.
        """
        done = self._yielded - unfinished
        if done >= min(len(self), limit):
            return {"epoch": self.epoch + 1, "yielded": 0}
        return {"epoch": self.epoch, "yielded": done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place."""
        self.epoch, self._yielded = int(state["epoch"]), int(state["yielded"])
        self._resumed = True

    def _next_epoch(self) -> None:
        self.epoch += 1
        self._yielded = 0

    def _place(self, order: Tensor | None, number: int) -> _Place:
        index, micro = divmod(number, self.micro_batches)
        part = self.rank * self.micro_batches + micro
        start = index * self.batch_size
        size = min(self.batch_size, len(self.x) - start)
        low, high = size * part // self.parts, size * (part + 1) // self.parts
        row = torch.arange(low, high)
        if order is None:
            return _Place(index, size, row + start, row + start)
        return _Place(index, size, row, order[start + low : start + high])

    def _stored(self, places: Iterable[_Place]) -> Iterator[Tensor]:
        """Yield the stored items of each place."""
        if self._reader is not None:
            yield from self._reader(place.chosen.tolist() for place in places)
            return
        assert isinstance(self.x, Tensor)
        for place in places:
            yield self.x[place.chosen.to(self.x.device, non_blocking=True)]

    def _batch(self, place: _Place, stored: Tensor) -> Batch:
        x = stored if self.device is None else stored.to(self.device, non_blocking=True)
        if self.augment is not None:
            x = self.augment(x, Noise(place.chosen.to(x.device), self.seed, "augment", self.epoch))
        if self.to_batch is not None:
            x = self.to_batch(x)
        label = None if self.label is None else self.label[place.chosen.to(self.label.device, non_blocking=True)]
        return Batch(x, label, place.row.to(x.device, non_blocking=True), self.epoch, place.index, place.size)


@dataclass(frozen=True)
class _Place:
    """A part of a batch.

    Attributes:
        index, size: of the global batch.
        row: [b] as in the batch.
        chosen: [b] row numbers of the data.
    """

    index: int
    size: int
    row: Tensor
    chosen: Tensor
