"""The settings of a run from overrides, in this process and without a command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffusion_lab.config.compose import composed
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.sweeps.sweep import single_run_config


def compose_run(overrides: Sequence[str], config_name: str = "train") -> tuple[TrainConfig, dict[str, Any]]:
    """Return the settings of scripts/train.py with these overrides, and the option of each config group.

    Args:
        overrides: as Hydra reads them.
        config_name: of the script behind which they were typed, for the message of an error.

    Raises:
        LabError: if an override is invalid; the message names it.
    """
    settings, chosen = composed(overrides, config_name)
    return single_run_config(settings), chosen
