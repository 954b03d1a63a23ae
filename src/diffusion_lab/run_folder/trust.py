"""The check that a recorded config names only targets of this installation: a run folder may come from anyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusion_lab.config.targets import known_targets, targets
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError, did_you_mean


def trusted(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a plain config if each target in it occurs in this installation's config tree. A target is a call.

    Raises:
        LabError: naming the file and the first target that does not.
    """
    for target in targets(config):
        if not isinstance(target, str) or target not in known_targets():
            raise LabError(
                f"{path} names the target {target!r}, which does not occur in {conf_dir()}: it is not run"
                f"{did_you_mean(target, known_targets())}"
            )
    return config
