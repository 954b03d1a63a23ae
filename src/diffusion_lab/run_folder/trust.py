"""The check that a recorded config names only targets of this installation: a run folder may come from anyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusion_lab.config.targets import known_targets, targets, top_level
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError, did_you_mean


def trusted(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a plain config if this installation's config tree has each target in it, in that place.

    A target is a call, of anything that can be imported.

    Raises:
        LabError: naming the file and the first target that it does not have.
    """
    for key, target in targets(config):
        known = known_targets().get(top_level(key), frozenset())
        if not isinstance(target, str) or target not in known:
            raise LabError(
                f"{path} names the target {target!r} as {key}, which does not occur there in {conf_dir()}: it is not "
                f"run{did_you_mean(target, known)}"
            )
    return config
