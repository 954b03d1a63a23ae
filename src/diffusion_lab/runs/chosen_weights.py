"""The weights that a key names: the weights themselves, an average, or one that is made of stored averages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.ema import KEY as EMA_KEY
from diffusion_lab.training.power_ema import FOLDER, MOST_STORED
from diffusion_lab.training.power_profile import HIGHEST, LOWEST, NARROWEST, WIDEST, reconstruct

#: The largest error of the profile of an average that is made of others.
_LARGEST_ERROR = 0.05


def chosen_weights(
    key: str, checkpoint: Mapping[str, Any], file: Path, parameters: Collection[str]
) -> tuple[dict[str, Tensor], str, float | None]:
    """Return the weights that a key names.

    Args:
        key: ``raw``; ``ema``, the average that training used for validation, or the weights where there is none;
            ``ema_<decay>`` or ``power_<width>``.
        checkpoint: as `read_checkpoint` returns it.
        file: the checkpoint's; copies of averages lie beside it.
        parameters: the names of the weights that are averaged; buffers are not.

    Returns:
        Tensors by name; ``raw``, ``ema`` or the key; and the error of the profile of an average that was made of stored
        ones, as a share: None for one that was kept.

    Raises:
        LabError: if the checkpoint has no such weights, naming those it has; or if a copy is damaged.
    """
    content = checkpoint.get(EMA_KEY) or {}
    if key == "raw" or (key == "ema" and not content):
        return checkpoint["state_dict"], "raw", None
    averages = _averages(content)
    if key == "ema":
        return content["weights"], "ema", None
    kind, value = _split(key)
    for known, weights in averages.items():
        if value is not None and _split(known) == (kind, value):
            return weights, known, None
    widths = _widths(averages)
    if kind == "power" and value is not None and widths:
        if not LOWEST <= value <= HIGHEST:
            raise LabError(f"weights={key}: widths from {LOWEST} to {HIGHEST} can be made of the stored averages")
        weights, error = _made(value, content, widths, file.parent, parameters)
        return weights, f"power_{value}", error
    has = ["raw", *(["ema"] if content else []), *averages]
    if widths:
        has.append(f"power_<width> with a width from {LOWEST} to {HIGHEST}")
    raise LabError(f"weights={key}: {file.name} has no such weights; it has {', '.join(has)}")


def _made(
    width: float,
    content: Mapping[str, Any],
    widths: Mapping[str, float],
    checkpoints: Path,
    parameters: Collection[str],
) -> tuple[dict[str, Tensor], float]:
    """Return the average of a width that was not kept, made of those in the checkpoint and those stored before it."""
    update = content["updates"]
    if update < 1:
        raise LabError(f"weights=power_{width}: nothing has been averaged yet")
    numbered = [
        (path.stem.removeprefix("update_"), path) for path in (checkpoints / FOLDER).glob("update_????????.ckpt")
    ]
    files = {int(number): path for number, path in numbered if number.isdecimal()}
    sources: list[tuple[int, Path | None, str]] = [
        (number, path, key) for number, path in sorted(files.items()) if 1 <= number < update for key in widths
    ]
    sources += [(update, None, key) for key in widths]
    if len(files) > MOST_STORED:
        raise LabError(f"{checkpoints / FOLDER} has {len(files):,} stored averages, and there may be {MOST_STORED:,}")
    coefficients, error = reconstruct([(number, widths[key]) for number, _, key in sources], update, width)
    if not error <= _LARGEST_ERROR:
        raise LabError(
            f"weights=power_{width}: what is stored of this run gives that average with an error of {error:.1%} only, "
            f"and {_LARGEST_ERROR:.0%} are allowed; take a width nearer to {' or '.join(widths)}, or train "
            "with more stored copies (ema.store_every_n_updates, ema.max_stored)"
        )
    nearest = content["weights"]
    total = {name: nearest[name].double() * 0 for name in parameters if name in nearest}
    opened: tuple[Path | None, dict[str, dict[str, Tensor]]] = (None, _averages(content))
    for (number, path, key), coefficient in zip(sources, coefficients.tolist(), strict=True):
        if path != opened[0]:
            opened = path, _averages(content if path is None else _read_copy(path, number))
        stored = opened[1].get(key, {})
        for name, value in total.items():
            if name not in stored or stored[name].shape != value.shape:
                raise LabError(f"{path} is damaged, or of another run: it has not the average {key} of {name}")
            value.add_(stored[name].double(), alpha=coefficient)
    return {name: total[name].to(value.dtype) if name in total else value for name, value in nearest.items()}, error


def _read_copy(path: Path, number: int) -> Mapping[str, Any]:
    """Return the averages of a copy as a checkpoint holds them; it must be of the update in its name."""
    content: Mapping[str, Any] = read_checkpoint(path).get(EMA_KEY) or {}
    if content.get("updates") != number:
        raise LabError(f"{path} is damaged, or of another run: it is not of update {number:,}")
    return content


def _widths(averages: Mapping[str, Any]) -> dict[str, float]:
    """Return the width of each power-function average, by its key."""
    numbers = {key: _split(key) for key in averages}
    return {
        key: value
        for key, (kind, value) in numbers.items()
        if kind == "power" and value is not None and NARROWEST <= value < WIDEST
    }


def _averages(content: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Return the averages of a checkpoint by key; one of an earlier version may have no key."""
    if not content:
        return {}
    return {content.get("key", "ema"): content["weights"], **content.get("others", {})}


def _split(key: str) -> tuple[str, float | None]:
    """Return the kind and the number of a key such as ``ema_0.999``."""
    kind, _, number = key.partition("_")
    try:
        return kind, float(number)
    except ValueError:
        return kind, None
