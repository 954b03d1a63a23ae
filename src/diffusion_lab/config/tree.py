"""Location of the config tree, and the options of its groups."""

from __future__ import annotations

from pathlib import Path


def conf_dir() -> Path:
    """Return the folder of the config tree: beside src/ in a clone, inside the package if installed from a wheel."""
    package = Path(__file__).resolve().parents[1]
    in_clone = package.parents[1] / "conf"
    return in_clone if (in_clone / "train.yaml").is_file() else package / "conf"


def options(group: str) -> list[str]:
    """Return the names of a config group's options; none if there is no such group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")) if group else []
