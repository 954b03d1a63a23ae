"""A device that is not there: its tensors are computed on the CPU, and refuse to be mixed with those of the CPU.

What a GPU would say of a `device=` that was left out is said here on any machine. The device is called ``meta``, which
PyTorch knows everywhere; unlike tensors of that device, these have values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")
_AUTOCAST = torch.autocast
_CPU = torch.device("cpu")
_COPIES = ("aten::copy_", "aten::_to_copy", "aten::to", "aten::index_put_", "aten::index", "aten::index_put")


class There(Tensor):
    """A tensor of the device, whose values lie in `values`."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> There:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl


class _Functions(TorchFunctionMode):
    """What PyTorch cannot do with tensors of a class of one's own: lists of and from them, and views in inference."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.tolist and isinstance(args[0], There):
            return args[0].detach().values.tolist()
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return func(*args, **{**kwargs, "device": _CPU}).to(DEVICE)
        if not torch.is_inference_mode_enabled():
            return func(*args, **kwargs)
        with torch.inference_mode(False), torch.no_grad():
            return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute on the CPU what the device would compute."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, There)]
    asked = next((leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)), None)
    name = func._schema.name
    if there and name not in _COPIES:
        for tensor in tensors:
            if not isinstance(tensor, There) and tensor.dim():
                raise RuntimeError(f"{name}: expected all tensors to be on the same device, found one on the CPU")
    result_there = bool(there) if asked is None else asked.type == DEVICE.type
    if name == "aten::copy_":
        result_there = isinstance(args[0], There)
    elif name == "aten::to" and len(args) > 1 and isinstance(args[1], Tensor):
        result_there = isinstance(args[1], There)
    elif name in ("aten::index", "aten::index_put", "aten::index_put_") and isinstance(args[0], There) != bool(there):
        raise RuntimeError(f"{name}: indices should be on the CPU or on the device of the indexed tensor")
    if not there and not result_there:
        return func(*args, **kwargs)
    args, kwargs = tree_map_only(There, lambda tensor: tensor.values, (args, kwargs))
    args, kwargs = tree_map_only(torch.device, lambda device: _CPU, (args, kwargs))
    if kwargs.get("pin_memory"):
        raise RuntimeError(f"{name}: only tensors of the CPU can be pinned")
    out = func(*args, **kwargs)
    if func._schema.is_mutable and there:
        return next(one for one in there if one.values is out) if isinstance(out, Tensor) else out
    return tree_map_only(Tensor, There, out) if result_there else out


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """Let the device be there in the block: its tensors can be made, and given to networks."""

    def autocast(kind: str, *arguments: Any, **named: Any) -> Any:
        return _AUTOCAST("cpu" if kind == DEVICE.type else kind, *arguments, **named)

    with _Functions(), _Operations(), mock.patch.object(torch, "autocast", autocast):
        yield DEVICE


def moved(module: nn.Module) -> nn.Module:
    """Return a module after its parameters and buffers were moved to the device."""
    return module._apply(lambda tensor: There(tensor.detach()) if not isinstance(tensor, There) else tensor)
