"""The settings of a run, or of a draw from one, from overrides: in this process and without a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from diffusion_lab.config.changes import as_changes
from diffusion_lab.config.cli import one_line
from diffusion_lab.config.overrides import searchpath
from diffusion_lab.config.reader_schema import CHANGED_BY_DRAWS, SampleConfig
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError
from diffusion_lab.sweeps.sweep import single_run_config


def compose_run(overrides: Sequence[str], config_name: str = "train") -> tuple[TrainConfig, dict[str, Any]]:
    """Return the settings of scripts/train.py with these overrides, and the option of each config group.

    Args:
        overrides: as Hydra reads them.
        config_name: of the script behind which they were typed, for the message of an error.

    Raises:
        LabError: if an override is invalid; the message names it.
    """
    cfg = _composed("train", overrides, config_name)
    chosen: dict[str, Any] = OmegaConf.to_container(cfg.hydra.runtime.choices)  # type: ignore[assignment]
    with open_dict(cfg):
        del cfg["hydra"]
    return single_run_config(read_settings(TrainConfig, cfg)), chosen


def compose_changes(overrides: Sequence[str]) -> dict[str, Any]:
    """Return what scripts/sample.py changes of a run's config with these overrides, by config group.

    Args:
        overrides: of sampler, grid, guidance and clip, as Hydra reads them.

    Raises:
        LabError: if an override is invalid or of another group; the message names it.
    """
    for text in overrides:
        if (key := re.match(r"[+~]*([\w./]*)", text)) and key[1].split(".")[0] not in CHANGED_BY_DRAWS:
            raise LabError(f"{text}: of a trained run, {', '.join(CHANGED_BY_DRAWS)} can be changed")
    cfg = _composed("sample", ["run_dir=-", *searchpath(), *as_changes(overrides)], "sample")
    with open_dict(cfg):
        del cfg["hydra"]
    return read_settings(SampleConfig, cfg).changes


def _composed(config: str, overrides: Sequence[str], config_name: str) -> DictConfig:
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose(config, list(overrides), return_hydra_config=True)
    except Exception as error:  # of Hydra or OmegaConf, explained by `one_line`
        raise LabError(one_line(error, config_name)) from error
