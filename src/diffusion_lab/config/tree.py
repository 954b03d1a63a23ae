"""Location of the config tree, and the options of its groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def conf_dir() -> Path:
    """Return the folder of the config tree: beside src/ in a clone, inside the package if installed from a wheel."""
    package = Path(__file__).resolve().parents[1]
    in_clone = package.parents[1] / "conf"
    return in_clone if (in_clone / "train.yaml").is_file() else package / "conf"


def options(group: str) -> list[str]:
    """Return the names of a config group's options; none if there is no such group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")) if group else []


def read_option(group: str, option: str) -> dict[str, Any]:
    """Return the content of an option's file as a plain container, without the options that it builds on."""
    from omegaconf import OmegaConf

    node: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / group / f"{option}.yaml"))
    return {key: value for key, value in node.items() if key != "defaults"}
