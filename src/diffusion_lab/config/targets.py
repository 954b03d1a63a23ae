"""The targets in this installation's config tree, the only ones that a config from elsewhere may name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from diffusion_lab.config.tree import conf_dir


@cache
def known_targets() -> Mapping[str, frozenset[str]]:
    """Return every target that occurs in this installation's conf/, by the top-level key of the config it stands under.

    So a target is known in its place alone: a logger is none of the networks.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in conf_dir().rglob("*.yaml"):
        group = file.relative_to(conf_dir()).parts[0]
        whole = file.parent == conf_dir() or "@package _global_" in file.read_text(encoding="utf-8")
        node = OmegaConf.to_container(OmegaConf.load(file))
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


def allowed_with(typed: Iterable[tuple[str, Any]]) -> dict[str, frozenset[str]]:
    """Return the known targets and those that the user typed, as `targets` yields them."""
    allowed = dict(known_targets())
    for key, name in typed:
        allowed[top_level(key)] = allowed.get(top_level(key), frozenset()) | {str(name)}
    return allowed
