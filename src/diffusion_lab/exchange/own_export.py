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


def own_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `CONFIG` for a run's config, without the paths and settings of the machine it ran on."""
    left_out = ("paths", "logger", "launcher", "resume", "init_from", "init_flags", "console", "name", "tags", "notes")
    return {
        "layout_version": LAYOUT_VERSION,
        "config": {key: _without_folders(value) for key, value in config.items() if key not in left_out},
    }


def _without_folders(node: Any) -> Any:
    """Return a config in which only the last part is left of each absolute path, as of ``data.path``."""
    if isinstance(node, Mapping):
        return {key: _without_folders(value) for key, value in node.items()}
    return Path(node).name if isinstance(node, str) and Path(node).is_absolute() else node


def own_model(content: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ForeignModel:
    """Return the model of an export.

    Args:
        content: of `CONFIG`.
        weights: those in `WEIGHTS`, by name: all of the run's module.

    Raises:
        LabError: naming what is missing.
    """
    config, version = content.get("config"), content.get("layout_version")
    if not isinstance(config, dict) or not isinstance(config.get("network"), dict) or not isinstance(version, int):
        raise LabError(f"{CONFIG} needs a config with a network, and layout_version")
    if version > LAYOUT_VERSION:
        raise LabError(
            f"{CONFIG} has layout_version {version}, and {LAYOUT_VERSION} is the newest here: update Diffusion Lab"
        )
    config = upgraded(config, version)
    return ForeignModel(
        kind="Diffusion Lab",
        shape=None,
        num_classes=None,
        network=config["network"],
        choices={},
        weights_of=lambda network: dict(weights),
        config=config,
    )
