"""The targets that a config may name: those in this installation's config tree, and what the user says they trust."""

from __future__ import annotations

import os
import pkgutil
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import yaml

from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError, did_you_mean

#: The environment variable that names modules, classes and functions of the user's own, divided by commas.
TRUST_VARIABLE = "DIFFUSION_LAB_TRUST"

#: The C one takes a tenth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def known_targets() -> Mapping[str, frozenset[str]]:
    """Return every target that occurs in this installation's conf/, by the top-level key of the config it stands under.

    So a target is known in its place alone: a logger is none of the networks.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in conf_dir().rglob("*.yaml"):
        group = file.relative_to(conf_dir()).parts[0]
        text = file.read_text(encoding="utf-8")
        whole = file.parent == conf_dir() or "@package _global_" in text
        node = yaml.load(text, Loader=_LOADER)
        for key, name in targets(node if whole else {group: node}):
            found[top_level(key)].add(str(name))
    del found["hydra"]  # Hydra's own settings are not part of a run
    return {group: frozenset(names) for group, names in found.items()}


def targets(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key, and the value, of each ``_target_`` in a plain container that stands under `key`."""
    if isinstance(node, dict) and "_target_" in node:
        yield f"{key}._target_", node["_target_"]
    for name, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from targets(value, f"{key}.{name}" if key else str(name))


def top_level(key: str) -> str:
    """Return the first part of a dotted key: the group that an option of the config tree belongs to."""
    return re.split(r"[.\[]", key, maxsplit=1)[0]


def is_allowed(key: str, name: Any) -> bool:
    """Return whether a config may name a target below a dotted key: conf/ has it there, or the user trusts it.

    `TRUST_VARIABLE` holds its name, or the package or module that it is in.
    """
    return isinstance(name, str) and (name in _known(key) or any(map(partial(_is_in, name), _trusted())))


def located(key: str, name: Any) -> Callable[..., Any]:
    """Return the class or function that the node under a dotted key names as its target.

    Of a trusted module only what it defines itself can be named, and not what it imports from elsewhere.

    Raises:
        LabError: naming the key, if the target is not allowed there, or cannot be found.
    """
    where = f"{key}._target_={name}"
    if not is_allowed(key, name):
        guess = did_you_mean(name, _known(key))
        raise LabError(f"{where}: no such class or function is known under {top_level(key)}{guess}{how_to_trust(name)}")
    try:
        found: Any = pkgutil.resolve_name(name)
    except Exception as error:  # a module of the user's own may raise anything
        text = " ".join(str(error).split())
        module = name.split(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            text += f": install the package that has it, or put the folder of {module} into PYTHONPATH"
        raise LabError(f"{where}: there is no such class or function ({text})") from error
    if name not in _known(key) and not _is_trusted(found, name):
        raise LabError(f"{where}: it is no class or function that {name.rpartition('.')[0]} defines")
    return found


def is_own(name: str) -> bool:
    """Return whether a target is of the user's own: none of those in conf/."""
    return all(name not in names for names in known_targets().values())


def _known(key: str) -> frozenset[str]:
    return known_targets().get(top_level(key), frozenset())


def _trusted() -> list[str]:
    return [name for part in os.environ.get(TRUST_VARIABLE, "").split(",") if (name := part.strip())]


def _is_in(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def _is_trusted(found: Any, name: str) -> bool:
    """Return whether what was found can be called, and has been defined in what is trusted."""
    home = f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', '')}"
    return callable(found) and (name in _trusted() or any(map(partial(_is_in, home), _trusted())))


def how_to_trust(name: Any) -> str:
    """Return the end of a line that refuses a target: what a user types whose own it is; "" if it cannot be one."""
    package = str(name).partition(".")[0]
    if not package.isidentifier() or package == "diffusion_lab" or package in sys.stdlib_module_names:
        return ""
    return f"; if it is your own, set {TRUST_VARIABLE}={package} in the environment"
