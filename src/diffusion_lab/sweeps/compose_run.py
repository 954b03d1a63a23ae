"""The settings of a run, or of a draw from one, from overrides: in this process and without a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from diffusion_lab.config.changes import as_changes
from diffusion_lab.config.compose import composed
from diffusion_lab.config.overrides import searchpath
from diffusion_lab.config.reader_schema import CHANGED_BY_DRAWS, SampleConfig
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import read_settings
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
    cfg, chosen = composed("train", overrides, config_name)
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
    cfg, _ = composed("sample", ["run_dir=-", *searchpath(), *as_changes(overrides)], "sample")
    return read_settings(SampleConfig, cfg).changes
