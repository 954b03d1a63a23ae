"""Versions of the layout of a run folder: which one a folder has, and how a config of an older one is upgraded.

`manifest.json` records the version as `layout_version`. A config of an older version is upgraded in memory when it is
read, by one function per version; the files stay as they are until the run is resumed, which records it anew.

To change what is recorded: add 1 to `LAYOUT_VERSION`, and a function to `_UPGRADES` that turns a config of the version
before into one of the new version, and leaves one of the new version as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diffusion_lab.errors import LabError

#: The version that this code writes.
LAYOUT_VERSION = 2


class NewerLayoutError(LabError):
    """A run folder was written by a newer version of this project."""


def layout_version(folder: Path, manifest: Mapping[str, Any]) -> int:
    """Return the version of a run folder's layout; version 1 did not record it.

    Raises:
        NewerLayoutError: if it is newer than this code.
        LabError: if it is no version.
    """
    version = manifest.get("layout_version", 1)
    if type(version) is not int or version < 1:
        raise LabError(f"{folder / 'manifest.json'} is damaged: layout_version is {version!r}")
    if version > LAYOUT_VERSION:
        raise NewerLayoutError(
            f"{folder} has version {version} of the run folder's layout, and this Diffusion Lab knows versions up to "
            f"{LAYOUT_VERSION}: update Diffusion Lab"
        )
    return version


def upgraded(config: dict[str, Any], version: int) -> dict[str, Any]:
    """Return a recorded config of an older version as one of `LAYOUT_VERSION`."""
    for upgrade in _UPGRADES[version - 1 :]:
        config = upgrade(config)
    return _as_recorded_now(config)


#: Classes whose modules were renamed in version 2.
_RENAMED_IN_2 = {
    "diffusion_lab.objectives.GridTimes": "diffusion_lab.objectives.UniformTimes",
    "diffusion_lab.training.finite.FiniteLoss": "diffusion_lab.training.finite_loss.FiniteLoss",
    "diffusion_lab.training.ledger.LossLedger": "diffusion_lab.training.step_losses.LossLedger",
    "diffusion_lab.training.history.History": "diffusion_lab.training.epoch_history.History",
    "diffusion_lab.training.samples.SampleGrid": "diffusion_lab.training.sample_grid.SampleGrid",
    "diffusion_lab.training.interrupt.GracefulInterrupt": "diffusion_lab.training.graceful_interrupt.GracefulInterrupt",
}

#: Keys that the first runs of version 1 do not have, with the values that they stand for.
_ADDED_BEFORE_2: dict[str, Any] = {"ema": {}, "tags": [], "notes": "", "deterministic": False}


def _from_1_to_2(config: dict[str, Any]) -> dict[str, Any]:
    """Rename targets, turn ``sampling.clip_x0`` into a node ``clip``, and add the keys that version 1 may lack."""
    config = _with_targets_renamed(config, _RENAMED_IN_2)
    sampling = config.get("sampling")
    if isinstance(sampling, dict) and "clip_x0" in sampling:
        clip = {"_target_": "diffusion_lab.sampling.ClipX0"} if sampling["clip_x0"] else {}
        others = {key: value for key, value in sampling.items() if key != "clip_x0"}
        config = config | {"sampling": others, "guidance": {}, "clip": clip}
    return config | {key: value for key, value in _ADDED_BEFORE_2.items() if key not in config}


def _as_recorded_now(config: dict[str, Any]) -> dict[str, Any]:
    """Remove and add what later configs of one version do not have any more, or have besides; a run stays the same.

    ``data.data_dir`` repeated ``paths.data_dir``. There was one grid, `Trailing`, and no group for it; no weights; and
    the distribution of times was a part of the objective. ``data.vocab_size`` was ``max_words``, whatever tokens were.
    """
    if "sampler" in config:
        config = {"grid": {"_target_": "diffusion_lab.sampling.grids.Trailing"}, "weight": {}} | config
    objective = config.get("objective")
    if isinstance(objective, dict) and "times" in objective:
        others = {key: value for key, value in objective.items() if key != "times"}
        config = config | {"objective": others, "time_sampling": objective["times"]}
    data = config.get("data")
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key != "data_dir"}
        if "max_words" in data:
            most = data.pop("max_words")
            data["vocab_size"] = most if data.get("tokens") == "words" else None
        return config | {"data": data}
    return config


def _with_targets_renamed(node: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(node, list):
        return [_with_targets_renamed(value, renamed) for value in node]
    if not isinstance(node, dict):
        return node
    node = {key: _with_targets_renamed(value, renamed) for key, value in node.items()}
    target = node.get("_target_")
    return node | {"_target_": renamed[target]} if isinstance(target, str) and target in renamed else node


#: Entry i upgrades a config from version i + 1 to version i + 2.
_UPGRADES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (_from_1_to_2,)
