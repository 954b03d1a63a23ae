"""Agreement of all processes of a run on a number, without a step having to wait for the messages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class RankAgreement:
    """Tells every process the largest number that any process of the run has reported.

    The maximum is computed in the background, over a connection between CPUs, and returned by the next call: neither
    a step nor a GPU waits for it.

    Args:
        processes: number of processes of the run; a single one needs no messages.
    """

    def __init__(self, processes: int) -> None:
        self._group: Any = distributed.new_group(backend="gloo") if processes > 1 else None
        self._pending: tuple[Tensor, Any] | None = None

    def largest(self, number: int, wait: bool = False) -> int:
        """Report a number of at least 0, and return the largest one that was reported in the call before this one.

        All processes must call it equally often. With `wait`, the numbers of this call count as well. Once a result
        is not 0, the call that returns it ignores its own `number`.
        """
        if self._group is None:
            return number
        result = self._finish()
        if not result:
            value = torch.tensor(number)
            self._pending = value, distributed.all_reduce(value, distributed.ReduceOp.MAX, self._group, async_op=True)
            if wait:
                result = self._finish()
        return result

    def _finish(self) -> int:
        """Wait for the maximum that is being computed; 0 if there is none."""
        if self._pending is None:
            return 0
        (value, work), self._pending = self._pending, None
        work.wait()
        return int(value)
