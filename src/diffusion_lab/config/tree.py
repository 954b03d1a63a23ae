"""Location of the config tree, and the options of its groups."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
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


def chosen_by(experiment: str, group: str) -> str:
    """Return the option of a config group that an experiment chooses, or else that of training."""
    return _choice(f"experiment/{experiment}", group) or _choice("train", group)


@cache
def _choice(file: str, group: str) -> str:
    """Return what the defaults list of a file, or of the last of the experiments in it, chooses; "" for nothing."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / f"{file}.yaml"))
    found = ""
    for entry in content.get("defaults", []):
        if not isinstance(entry, str):
            found = str(entry.get(group) or entry.get(f"override /{group}") or found)
        elif entry != "_self_":
            found = _choice(f"experiment/{entry}", group) or found
    return found


def option_of(group: str, node: Mapping[str, Any]) -> str:
    """Return the option of a config group that builds `node`, which has a target; the name of its class if none does.

    Options that build the same class are told apart by their keys.
    """
    for option, target, keys in _targets_and_keys(group):
        if target == node["_target_"] and keys == node.keys():
            return option
    return str(node["_target_"]).rpartition(".")[2]


@cache
def _targets_and_keys(group: str) -> list[tuple[str, Any, frozenset[str]]]:
    nodes = {option: read_option(group, option) for option in options(group)}
    return [(option, node.get("_target_"), frozenset(node)) for option, node in nodes.items()]
