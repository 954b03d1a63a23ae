"""The targets in this installation's config tree, the only ones that a config from elsewhere may name."""

from __future__ import annotations

from functools import cache
from typing import Any

from omegaconf import OmegaConf

from diffusion_lab.config.tree import conf_dir


@cache
def known_targets() -> frozenset[str]:
    """Return every target that occurs in this installation's conf/."""
    found: set[str] = set()
    for file in conf_dir().rglob("*.yaml"):
        node = OmegaConf.to_container(OmegaConf.load(file))
        # Hydra's own settings are not part of a run.
        found.update(map(str, targets({key: v for key, v in node.items() if key != "hydra"})))  # type: ignore[union-attr]
    return frozenset(found)


def targets(node: Any) -> list[Any]:
    """Return every value of a key ``_target_`` in a plain container."""
    if isinstance(node, dict):
        here = [node["_target_"]] if "_target_" in node else []
        return here + [t for value in node.values() for t in targets(value)]
    if isinstance(node, list):
        return [t for value in node for t in targets(value)]
    return []
