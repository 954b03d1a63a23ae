"""Data that a person names on the command line: ``val``, ``test:3`` or the path of a file; and masks over it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffusion_lab.data import DataModule
from diffusion_lab.data.named_picture import read_array, read_picture
from diffusion_lab.errors import LabError

_SPLITS = ("train", "val", "test")

#: Masks that have a name: what each makes unknown.
MASKS = ("half", "box")


@dataclass(frozen=True)
class NamedData:
    """Items of data [n, *D] as batches hold them, and their labels [n] int64; None where these are not known."""

    items: Tensor
    labels: Tensor | None


def named_data(text: str, data: DataModule, key: str, count: int | None = None) -> NamedData:
    """Return the data that `text` names.

    Args:
        text: ``val:3``, item 3 of a split, from 0; a path; or, with `count`, also ``val``, its first items.
        data: of the run; it is read only if `text` names a split.
        key: of the config, for messages.
        count: how many items of a whole split.

    Raises:
        LabError: naming the key, if there is no such data or it does not fit the run.
    """
    if match := re.fullmatch(r"(\w+)(?::(\d{1,12}))?", text):
        name, index = match[1], match[2]
        if name in _SPLITS and (index is not None or count is not None):
            last = int(index) if index is not None else (count or 1) - 1
            return _of_split(data, name, key, text, last, only_last=index is not None)
    path = Path(text).expanduser()
    if not path.is_file():
        item = "test:3 (an item of a split)" if count is None else "val, test:3 (a split, or one of its items)"
        files = "the path of a PNG, JPEG or .npy file"
        raise LabError(f"{key}={text}: there is no such file; give {item}, or {files}")
    return NamedData(_from_file(path, data, key)[None], None)


def named_mask(text: str, data: DataModule, key: str) -> Tensor:
    """Return the mask that `text` names: [*D] bool, true for what is unknown.

    ``half`` is the right half, ``box`` the middle of half the width and height. In a picture, white is unknown (at
    least 128 of 255); in a NumPy file, what is not 0.

    Raises:
        LabError: naming the key, if there is no such mask, it does not fit the run, or all or nothing is known.
    """
    shape = data.shape
    if text in MASKS:
        mask = _named_shape(text, shape)
    else:
        path = Path(text).expanduser()
        if not path.is_file():
            raise LabError(f"{key}={text}: there is no such file; give {' or '.join(MASKS)}, or a path")
        if path.suffix == ".npy":
            mask = read_array(path, shape, key) != 0
        else:
            _check_pictures(data, key, text)
            mask = (read_picture(path, (1, *shape[1:]), key) >= 128).expand(shape)
    if bool(mask.all()) or not bool(mask.any()):
        which = "unknown (white)" if bool(mask.all()) else "known (black)"
        raise LabError(
            f"{key}={text}: all of it is {which}; white is to be painted, and something must be left of both"
        )
    return mask.clone()


def data_hash(tensor: Tensor) -> str:
    """Return a short hash of the values of a tensor."""
    return hashlib.blake2b(tensor.contiguous().numpy().tobytes(), digest_size=8).hexdigest()


def _of_split(data: DataModule, name: str, key: str, text: str, last: int, only_last: bool) -> NamedData:
    data.prepare_data()
    data.setup()
    size = len(getattr(data, name))
    if last >= size:
        wants = f"it has no number {last}" if only_last else f"num_samples={last + 1} are too many"
        raise LabError(f"{key}={text}: the split {name} has {size:,} items, so {wants}")
    items, labels = data.split(name, last + 1)
    first = last if only_last else 0
    return NamedData(items[first:].clone(), None if labels is None else labels[first:])


def _from_file(path: Path, data: DataModule, key: str) -> Tensor:
    """Return one item [*D] as a batch holds it."""
    if path.suffix != ".npy":
        _check_pictures(data, key, str(path))
        return data.to_batch(read_picture(path, data.shape, key)[None])[0]
    item = read_array(path, data.shape, key).to(data.example().dtype)
    if item.is_floating_point() and not (bool(item.isfinite().all()) and float(item.abs().max()) <= 1):
        raise LabError(f"{key}={path}: its values must lie between −1 and 1, as samples.npy of a draw has them")
    return item


def _check_pictures(data: DataModule, key: str, text: str) -> None:
    if data.item != "image" or len(data.shape) != 3 or data.shape[0] not in (1, 3):
        raise LabError(f"{key}={text}: the run's data is no pictures; give a .npy file of the shape {list(data.shape)}")


def _named_shape(name: str, shape: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    if name == "half":
        mask[..., shape[-1] // 2 :] = True
        return mask
    middle = mask
    for axis in range(max(0, len(shape) - 2), len(shape)):
        side = shape[axis]
        middle = middle.narrow(axis, side // 4, max(side // 2, 1))
    middle.fill_(True)
    return mask
