"""A run folder may come from anyone: only targets that this installation names are called."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diffusion_lab.config.targets import known_targets, targets
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError, did_you_mean


def trusted(cfg: DictConfig, where: Path) -> DictConfig:
    """The config, if every target in it occurs in this installation's own config tree.

    A run folder may come from anyone, and a target is a call.

    Raises:
        LabError: naming the first one that does not.
    """
    for target in targets(OmegaConf.to_container(cfg)):
        if not isinstance(target, str) or target not in known_targets():
            raise LabError(
                f"{where} names the target {target!r}, which does not occur in {conf_dir()}: it is not run"
                f"{did_you_mean(target, known_targets())}"
            )
    return cfg
