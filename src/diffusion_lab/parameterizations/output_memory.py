"""A memory of a network's outputs, so that it is not asked again for what cannot have changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: How many outputs are remembered: with guidance, that for the label or the prompt and that without.
_REMEMBERED = 2


@dataclass(frozen=True)
class _Entry:
    """An output raw for inputs x [B, *D] under a condition [B, …] or None.

    Attributes:
        seen: what a network of blocks computed of the first `count` positions of x, one part for each layer.
    """

    x: Tensor
    condition: Tensor | None
    raw: Tensor
    seen: list[Any]
    count: int


class OutputMemory:
    """Remembers the last outputs of a network that is not told the time.

    A network is asked for the rows that differ from the most similar inputs that are remembered for the same condition;
    one that sees blocks, only from the first block on that differs in any row, with what it computed of those before.

    Args:
        block_size: of a network that sees blocks (see `Network`); None for any other.
    """

    def __init__(self, block_size: int | None) -> None:
        self.block_size = block_size
        self._entries: list[_Entry] = []

    def output(self, x: Tensor, condition: Tensor | None, ask: Callable[..., Tensor]) -> Tensor:
        """Return the output for inputs x [B, *D].

        Args:
            x: what the network is given.
            condition: [B, …] or None.
            ask: (rows, first, seen=…) → the network's output for some rows, from the position `first` on. `seen` is
                given to a network of blocks alone.
        """
        alike = [entry for entry in self._entries if self._goes_on(entry, x, condition)]
        before = min(alike, key=lambda entry: self._new(entry, x), default=None)
        if before is None:
            entry = self._asked(x, condition, ask, None, 0, slice(None))
        else:
            first = self._same(before, x)
            rows = self._rows(before, x, first)
            nothing = isinstance(rows, Tensor) and not len(rows)
            entry = before if nothing else self._asked(x, condition, ask, before, first, rows)
        self._entries = [entry, *(one for one in self._entries if one is not entry)][:_REMEMBERED]
        return entry.raw

    def _asked(
        self,
        x: Tensor,
        condition: Tensor | None,
        ask: Callable[..., Tensor],
        before: _Entry | None,
        first: int,
        rows: Tensor | slice,
    ) -> _Entry:
        """Return the entry of x after the network was asked for some rows, from the position `first` on."""
        whole = isinstance(rows, slice)
        seen = [] if before is None else [part.part(rows, first) for part in before.seen]
        # A compiled network may write its next output over this one: what is kept is a copy.
        raw = ask(rows, first, **({} if self.block_size is None else {"seen": seen})).clone()
        if before is not None and not whole:
            raw, some = before.raw.clone(), raw
            raw[rows, first:] = some
        elif before is not None and first:
            raw = torch.cat([before.raw[:, :first], raw], dim=1)
        if self._has_blocks(x, first):
            return _Entry(x, condition, raw, [part.part(rows, x.shape[1]).copy() for part in seen], x.shape[1])
        # Of a single block there is nothing to keep: it is going to change.
        return _Entry(x, condition, raw, [] if before is None else before.seen, first)

    def _has_blocks(self, x: Tensor, first: int) -> bool:
        """Return whether there is more than one block of x from the position `first` on."""
        return self.block_size is not None and x.shape[1] - first > self.block_size

    def _goes_on(self, entry: _Entry, x: Tensor, condition: Tensor | None) -> bool:
        """Return whether an entry is of the same condition, and of states like x; sequences of blocks may grow."""
        if entry.condition is None or condition is None:
            same = entry.condition is condition
        else:
            same = torch.equal(entry.condition, condition)
        grows = self.block_size is not None and len(entry.x) == len(x)
        return same and (grows or entry.x.shape == x.shape)

    def _same(self, entry: _Entry, x: Tensor) -> int:
        """Return for how many positions from the first on, in whole blocks, the network need not be asked again."""
        if self.block_size is None:
            return 0
        count = min(entry.count, x.shape[1])
        differs = (entry.x[:, :count] != x[:, :count]).any(0).nonzero()
        return (int(differs[0]) if len(differs) else count) // self.block_size * self.block_size

    def _rows(self, entry: _Entry, x: Tensor, first: int) -> Tensor | slice:
        """Return the rows [b] that differ from those of an entry from the position `first` on.

        Of several blocks these are all rows, since what is computed of them is of use for the inputs to come.
        """
        if entry.x.shape != x.shape or self._has_blocks(x, first):
            return slice(None)
        changed = (entry.x[:, first:] != x[:, first:]).flatten(1).any(1)
        return slice(None) if bool(changed.all()) else changed.nonzero()[:, 0]

    def _new(self, entry: _Entry, x: Tensor) -> tuple[int, int]:
        """Return for how many positions the network would be asked again after an entry, and for how many rows."""
        first = self._same(entry, x)
        rows = self._rows(entry, x, first)
        return x.shape[1] - first, len(x) if isinstance(rows, slice) else len(rows)
