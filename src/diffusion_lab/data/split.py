"""The items of a data set: in memory, or on disk until they are read."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffusion_lab.errors import LabError

#: Bytes of the hash of an item.
HASH_BYTES = 16

#: How many of several unreadable items are named.
_NAMED = 3


class UnreadableItemsError(LabError):
    """Items of the data cannot be read.

    Args:
        items: each as "name (reason)".
        count: of the items that were looked at before training; None while training, when all had been readable.
    """

    def __init__(self, items: Sequence[str], count: int | None = None) -> None:
        self.items = list(items)
        named = ", ".join(self.items[:_NAMED]) + f" and {len(items) - _NAMED} more" * (len(items) > _NAMED)
        if count is None:
            text = f"the data cannot be read any more: {named}; mend it, and resume the run from its last checkpoint"
        else:
            text = f"{len(items):,} of {count:,} items of the data cannot be read: {named}; mend or remove them"
        super().__init__(text)


class Stored(ABC):
    """Items that stay on disk until they are read: what stands for the tensor [N, *D] of a data set of any size.

    It is copied to other processes, which read from it. It holds names and numbers, but neither open files nor what
    was read.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """How much memory all items would take, in bytes."""

    @abstractmethod
    def __getitem__(self, rows: Tensor) -> Stored:
        """Return the items with these numbers, [n] int64, unread."""

    @abstractmethod
    def read(self) -> Tensor:
        """Read all items and return them as `DataModule.to_batch` takes them, [N, *]; the same bits each time.

        Raises:
            UnreadableItemsError: naming each that cannot be read.
        """

    def read_with_hashes(self) -> tuple[Tensor, Tensor]:
        """Return all items [N, *], and a hash of each [N, HASH_BYTES] uint8: by default that of its bytes."""
        items = self.read()
        return items, hash_rows([item.numpy().tobytes() for item in items])


def hash_rows(contents: Sequence[bytes]) -> Tensor:
    """Return the hash of each of the contents, [N, HASH_BYTES] uint8."""
    digests = b"".join(hashlib.blake2b(content, digest_size=HASH_BYTES).digest() for content in contents)
    return torch.from_numpy(np.frombuffer(digests, np.uint8).copy()).reshape(-1, HASH_BYTES)


@dataclass(frozen=True)
class Split:
    """A part of a data set.

    Attributes:
        data: the items as they are stored: [N, *] in the dtype of storage, or a `Stored` of them.
        labels: [N] int64; None without.
        hashes: [N, HASH_BYTES] uint8: the hash of each item where that is not the hash of what `data` holds, since it
            was read from files; None elsewhere.
    """

    data: Tensor | Stored
    labels: Tensor | None = None
    hashes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: Tensor) -> Split:
        """Return the rows with these numbers, [n] int64."""
        labels, hashes = (None if column is None else column[rows] for column in (self.labels, self.hashes))
        return Split(self.data[rows], labels, hashes)

    def first(self, count: int) -> Split:
        """Return the first `count` items, or all if there are fewer; those in memory are not copied."""
        if not isinstance(self.data, Tensor):
            return self.take(torch.arange(min(count, len(self))))
        labels, hashes = (None if column is None else column[:count] for column in (self.labels, self.hashes))
        return Split(self.data[:count], labels, hashes)

    def read(self) -> Tensor:
        """Return all items [N, *] as they are stored."""
        return self.data if isinstance(self.data, Tensor) else self.data.read()
