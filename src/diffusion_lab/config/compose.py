"""The config tree composed in this process and without a command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from diffusion_lab.config.cli import one_line
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError


def composed(config: str, overrides: Sequence[str], config_name: str) -> tuple[DictConfig, dict[str, Any]]:
    """Return the config of a script with these overrides, and the option of each config group.

    Args:
        config: the name of the script's config, such as ``train``.
        overrides: as Hydra reads them.
        config_name: of the script behind which they were typed, for the message of an error.

    Raises:
        LabError: if an override is invalid; the message names it.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose(config, list(overrides), return_hydra_config=True)
    except Exception as error:  # of Hydra or OmegaConf, explained by `one_line`
        raise LabError(one_line(error, config_name)) from error
    chosen: dict[str, Any] = OmegaConf.to_container(cfg.hydra.runtime.choices)  # type: ignore[assignment]
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg, chosen
