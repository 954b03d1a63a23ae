"""Writing checkpoints atomically, and reading them without running code in them."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import atomic_write
from diffusion_lab.machine.bounded_read import open_bounded
from diffusion_lab.training.ema import KEY as EMA_KEY
from diffusion_lab.training.module import TIME_SAMPLING_KEY


class AtomicCheckpointIO(TorchCheckpointIO):
    """Replaces a checkpoint only when the new one is complete and on the disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # torch reports a full disk as a RuntimeError of its zip writer, in the course of which it arose.
            kept = "; the previous one is intact" if path.exists() else ""
            reason = _of_disk(error) or _one_line(error)
            raise LabError(f"cannot write the checkpoint {path}: {reason}{kept}") from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path), map_location)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint that holds tensors and plain containers; one that holds code is refused, and the code not run.

    Raises:
        LabError: naming the file, if it is missing, damaged or holds anything else.
    """
    checkpoint = _read(path, map_location)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise LabError(f"{path} is not a checkpoint of this project: it has no state_dict")
    try:
        check_checkpoint(checkpoint)
    except ValueError as error:
        raise LabError(f"{path} is damaged: {error}") from error
    return checkpoint


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of another program that holds tensors by name, and nothing else; no code in it is run.

    Raises:
        LabError: naming the file, if it is missing, damaged or holds anything else.
    """
    weights = _read(path, "cpu")
    if not _tensors(weights):
        raise LabError(f"{path} does not hold weights alone: a mapping from names to tensors is needed")
    try:
        check_checkpoint({"state_dict": dict(weights)})
    except ValueError as error:
        raise LabError(f"{path} is damaged: {error}") from error
    return dict(weights)


def _read(path: Path, map_location: Any) -> Any:
    """Return what a file of torch holds: tensors and plain containers.

    Raises:
        LabError: naming the file, if it is missing, damaged or holds code.
    """
    try:
        with open_bounded(path) as file:
            _check_archive(file, path)
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickles of other programs, which are refused below
                return torch.load(file, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise LabError(f"there is no checkpoint {path}") from error
    except pickle.UnpicklingError as error:
        raise LabError(f"{path} is damaged, or holds more than tensors and plain values: it was not loaded") from error
    except LabError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in the reader
        raise LabError(f"{path} is damaged or not a checkpoint: {_one_line(error)}") from error


#: Bytes that may be shared among the tensors of a checkpoint in any case.
_SHARED = 2**20


def check_checkpoint(checkpoint: dict[str, Any]) -> None:
    """Check the kinds and ranges of what a checkpoint claims.

    Raises:
        ValueError: naming the field, and what it must be.
    """
    for name, (kind, holds) in _FIELDS.items():
        if name in checkpoint and not holds(checkpoint[name]):
            shown = ascii(checkpoint[name]) if isinstance(checkpoint[name], int | str | float) else "another"
            raise ValueError(f"{name} must be {kind}, and is {shown[:60]}")
    # Containers may be shared, so that a few of them stand for more than any memory holds: each is looked at once.
    waiting: list[Any] = [checkpoint]
    seen = {id(checkpoint)}
    declared, storages = 0, {}
    while waiting:
        node = waiting.pop()
        for value in node.values() if isinstance(node, dict) else node:
            if isinstance(value, Tensor):
                if value.layout is not torch.strided or value.numel() * value.element_size() > _stored(value):
                    raise ValueError("a tensor in it declares more values than it holds")
                if value.is_meta or value.is_quantized or value.is_complex():
                    raise ValueError("a tensor in it is no plain tensor of real numbers")
                declared += value.numel() * value.element_size()
                storages[value.untyped_storage().data_ptr()] = _stored(value)
            elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)
    if declared > 4 * sum(storages.values()) + _SHARED:  # some weights may be shared, and each may be loaded apart
        raise ValueError("tensors in it share so much memory that they would be far larger when they are loaded")


def _stored(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _tensors(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def _mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


#: The fields that are read, with what they may be, in words and as a check.
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "state_dict": ("a mapping from names to tensors", _tensors),
    "global_step": ("a whole number of steps", _count),
    "epoch": ("a whole number of epochs", _count),
    "loops": ("a mapping", lambda value: isinstance(value, dict)),
    "callbacks": (
        "a mapping from names to mappings",
        lambda value: isinstance(value, dict) and all(isinstance(name, str) for name in value),
    ),
    "optimizer_states": ("a list of mappings", _mappings),
    "lr_schedulers": ("a list of mappings", _mappings),
    EMA_KEY: (
        "averages of the weights",
        lambda value: (
            isinstance(value, dict)
            and _tensors(value.get("weights"))
            and _count(value.get("updates"))
            and isinstance(value.get("key", ""), str)
            and isinstance(value.get("others", {}), dict)
            and all(isinstance(key, str) and _tensors(average) for key, average in value.get("others", {}).items())
        ),
    ),
    TIME_SAMPLING_KEY: ("a mapping from names to tensors", _tensors),
}


def _check_archive(file: IO[bytes], path: Path) -> None:
    """Check the checksums of the archive, which torch does not, and that it declares no more bytes than it has."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise LabError(f"{path} is damaged: it is compressed, which checkpoints of torch are not")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise LabError(f"{path} is damaged: it declares more bytes than it has")
        damaged = archive.testzip()
    if damaged is not None:
        raise LabError(f"{path} is damaged: the checksum of {damaged!r} in it is wrong")


def _of_disk(error: BaseException | None) -> str | None:
    """What the system said, if an error of its own led to this one."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__ or error.__context__
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
