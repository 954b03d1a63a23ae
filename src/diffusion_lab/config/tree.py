"""Location of the config tree, and the options of its groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any


def conf_dir() -> Path:
    """Return the folder of the config tree: beside src/ in a clone, inside the package if installed from a wheel."""
    package = Path(__file__).resolve().parents[1]
    in_clone = package.parents[1] / "conf"
    return in_clone if (in_clone / "train.yaml").is_file() else package / "conf"


#: The folders of the user's own config files: see `use_config_dirs`.
_own_dirs: list[Path] = []


def use_config_dirs(folders: Iterable[Path]) -> None:
    """Let this process also know the options in the user's own folders of config files."""
    _own_dirs[:] = [folder.resolve() for folder in folders]


def config_dirs() -> tuple[Path, ...]:
    """Return the folders of config files in the order in which an option is looked for: conf/, and the user's own."""
    return conf_dir(), *_own_dirs


def options(group: str) -> list[str]:
    """Return the names of a config group's options; none if there is no such group."""
    return sorted({path.stem for folder in config_dirs() for path in (folder / group).glob("*.yaml")}) if group else []


def option_file(group: str, option: str) -> Path:
    """Return the file of an option; the first where several folders have one of that name, as Hydra does."""
    files = [folder / group / f"{option}.yaml" for folder in config_dirs()]
    return next(filter(Path.is_file, files), files[0])


def read_option(group: str, option: str) -> dict[str, Any]:
    """Return the content of an option's file as a plain container, without the options that it builds on."""
    from omegaconf import OmegaConf

    node: Any = OmegaConf.to_container(OmegaConf.load(option_file(group, option)))
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
    for option, target, keys in _targets_and_keys(group, config_dirs()):
        if target == node["_target_"] and keys == node.keys():
            return option
    return str(node["_target_"]).rpartition(".")[2]


@cache
def _targets_and_keys(group: str, folders: tuple[Path, ...]) -> list[tuple[str, Any, frozenset[str]]]:
    nodes = {option: read_option(group, option) for option in options(group)}
    return [(option, node.get("_target_"), frozenset(node)) for option, node in nodes.items()]
