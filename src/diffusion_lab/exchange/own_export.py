"""The form in which this project hands on a model: the weights of its network and its config, in two files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.exchange.foreign_model import ForeignModel
from diffusion_lab.run_folder.layout import LAYOUT_VERSION, upgraded

CONFIG, WEIGHTS = "diffusion_lab.json", "model.safetensors"

#: Keys that say where a run stood and what it told there; an export has none of them, and none is read from one.
_OF_THE_MACHINE = frozenset(
    {"paths", "logger", "launcher", "rerun", "resume", "init_from", "init_flags", "console", "name", "tags", "notes"}
)


def own_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `CONFIG` for a run's config, without the paths and settings of the machine it ran on."""
    return {"layout_version": LAYOUT_VERSION, "config": without_machine(config)}


def without_machine(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config without where it stood; of each path below a root or home folder, the last part is left."""
    return {key: _without_folders(value) for key, value in config.items() if key not in _OF_THE_MACHINE}


def _without_folders(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_folders(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_folders(value) for value in node]
    is_path = isinstance(node, str) and (Path(node).is_absolute() or node.startswith("~"))
    return Path(node).name or "." if is_path else node


def own_model(content: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ForeignModel:
    """Return the model of an export.

    Args:
        content: of `CONFIG`.
        weights: those in `WEIGHTS`, by name: all of the run's module.

    Raises:
        LabError: naming what is missing.
    """
    config, version = content.get("config"), content.get("layout_version")
    if not isinstance(config, dict) or not isinstance(config.get("network"), dict) or type(version) is not int:
        raise LabError(f"{CONFIG} needs a config with a network, and layout_version")
    if version < 1:
        raise LabError(f"{CONFIG} has layout_version {version}, which no Diffusion Lab has written")
    if version > LAYOUT_VERSION:
        raise LabError(
            f"{CONFIG} has layout_version {version}, and {LAYOUT_VERSION} is the newest here: update Diffusion Lab"
        )
    config = {key: value for key, value in upgraded(config, version).items() if key not in _OF_THE_MACHINE}
    return ForeignModel(
        kind="Diffusion Lab",
        shape=None,
        num_classes=None,
        network=config["network"],
        choices={},
        weights_of=lambda network: dict(weights),
        config=config,
    )
