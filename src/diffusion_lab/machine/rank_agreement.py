"""All processes of a run come to one decision, and none of them waits for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class Vote:
    """The largest number that any process has cast.

    The answer to a vote is read at the next one, and the messages go from CPU to CPU: no step waits for them,
    and no GPU. What is cast when an answer that is not zero is read is not counted.

    Args:
        processes: of the run; a single one has no one to ask.
    """

    def __init__(self, processes: int) -> None:
        self._group: Any = distributed.new_group(backend="gloo") if processes > 1 else None
        self._pending: tuple[Tensor, Any] | None = None

    def cast(self, number: int, now: bool = False) -> int:
        """Cast a number, and return the outcome of the vote before this one; with `now`, of this one, too."""
        if self._group is None:
            return number
        outcome = self._outcome()
        if not outcome:
            ballot = torch.tensor(number)
            self._pending = ballot, distributed.all_reduce(ballot, distributed.ReduceOp.MAX, self._group, async_op=True)
            if now:
                outcome = self._outcome()
        return outcome

    def _outcome(self) -> int:
        if self._pending is None:
            return 0
        (ballot, work), self._pending = self._pending, None
        work.wait()
        return int(ballot)
