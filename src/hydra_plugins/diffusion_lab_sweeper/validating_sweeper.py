"""Hydra's sweeper, made to validate all jobs of a sweep before the first one starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict


class ValidatingSweeper(BasicSweeper):
    """The basic sweeper; a job whose config is refused stops the sweep before anything is written.

    The jobs of scripts/train.py are handed to `diffusion_lab.sweeps`; those of other scripts run here, one after
    another, until one of them fails.
    """

    def sweep(self, arguments: list[str]) -> Any:
        from diffusion_lab.errors import LabError

        assert self.hydra_context is not None
        assert self.config is not None
        of_train = self.config.hydra.job.config_name == "train"
        if of_train and not str(self.config.hydra.launcher["_target_"]).endswith(".BasicLauncher"):
            raise LabError("hydra/launcher: where the jobs of a sweep run is chosen with launcher=…, see --help")
        if of_train and ("TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1):
            raise LabError(
                "-m in one of several processes that torchrun or srun started: a sweep starts its processes itself; "
                "run it in one, with trainer=ddp or launcher=submitit_slurm"
            )
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (jobs,) = self.split_arguments(parser.parse_overrides([*self._parse_config(), *arguments]), None)
        checked = [self._validated(overrides, len(jobs)) for overrides in jobs]
        if not of_train:
            return super().sweep(arguments)

        from diffusion_lab.sweeps.sweep import sweep

        return sweep(checked)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing is left to do: `sweep` has seen every job."""

    def _validated(self, overrides: Sequence[str], jobs: int) -> tuple[Any, list[str], dict[str, Any]]:
        """A job's settings, the overrides of its run, and the option of each of its groups."""
        from diffusion_lab.config.schema import TrainConfig
        from diffusion_lab.config.settings import SCHEMAS, read_settings
        from diffusion_lab.errors import LabError
        from diffusion_lab.runs.validate import validated

        assert self.hydra_context is not None
        assert self.config is not None
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        schema = SCHEMAS[str(cfg.hydra.job.config_name)]
        typed, options = list(cfg.hydra.overrides.task), dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]  # as in the job itself
        try:
            settings = read_settings(schema, cfg)
            if schema is TrainConfig:
                validated(settings)
        except LabError as error:
            raise LabError(f"{error} (in the job {' '.join(overrides)}; none of the {jobs} was started)") from error
        return settings, typed, {group: option for group, option in options.items() if not group.startswith("hydra/")}
