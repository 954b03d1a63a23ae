"""The check that a recorded config names only targets that are known or trusted: a run folder may come from anyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusion_lab.config.targets import how_to_trust, is_allowed, known_targets, targets, top_level
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError, did_you_mean


def trusted(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a plain config if this installation's config tree has each target in that place, or the user trusts it.

    A target is a call, of anything that can be imported.

    Raises:
        LabError: naming the file and the first target that is neither.
    """
    for key, target in targets(config):
        if not is_allowed(key, target):
            known = known_targets().get(top_level(key), frozenset())
            raise LabError(
                f"{path} names the target {target!r} as {key}, which does not occur there in {conf_dir()}: it is not "
                f"run{did_you_mean(target, known)}{how_to_trust(target)}"
            )
    return config
