"""A limit on the memory of the tensors that building a model takes, checked before it is taken."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: The most tensors that are made: networks that are far deeper than any would be built for minutes.
MOST_TENSORS = 50_000


@contextmanager
def allocation_limit(limit: int | None = None, reason: str = "this machine has") -> Iterator[None]:
    """Refuse to make tensors that together are larger than `limit`, on the CPU or a GPU.

    Only tensors that are made of nothing but their size count (`torch.empty`, `torch.linspace`, …): weights, buffers
    and tables. What is computed from them is not larger.

    Args:
        limit: number of bytes; None for the memory of this machine.
        reason: where the limit comes from, as in "more than the 8 GB that `reason`".

    Raises:
        MemoryError: before the tensor that exceeds the limit is made, or at more than `MOST_TENSORS`.
    """
    with _Limit(_machine_memory() if limit is None else limit, reason):
        yield


class _Limit(TorchDispatchMode):
    def __init__(self, limit: int, reason: str) -> None:
        super().__init__()
        self._limit = limit
        self._reason = reason
        self._taken = 0
        self._made = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if "device" in kwargs and not any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
            self._taken += _size(func, args, kwargs)
            self._made += 1
            if self._made > MOST_TENSORS:
                raise MemoryError(f"it makes more than {MOST_TENSORS:,} tensors")
            if self._taken > self._limit:
                raise MemoryError(
                    f"its tensors take {self._taken / 1e9:,.3g} GB and more, above the {self._limit / 1e9:,.3g} GB "
                    f"that {self._reason}"
                )
        return func(*args, **kwargs)


def _size(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Return the number of bytes of the tensor that a function without tensors as arguments makes."""
    if func.overloadpacket in (torch.ops.aten.linspace, torch.ops.aten.logspace):  # their sketch imports SymPy: 1 s
        return int(args[2]) * (kwargs.get("dtype") or torch.get_default_dtype()).itemsize
    sketch = func(*args, **{**kwargs, "device": torch.device("meta"), "pin_memory": False})
    return int(sketch.numel() * sketch.element_size())


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
