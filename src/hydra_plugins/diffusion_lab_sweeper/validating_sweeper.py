"""A Hydra sweeper that validates all jobs of a sweep before the first one starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict


class ValidatingSweeper(BasicSweeper):
    """Hydra's basic sweeper, except that an invalid config of any job ends the sweep before anything is written.

    The jobs of scripts/train.py are run by `diffusion_lab.sweeps`. Those of other scripts run in this process, one
    after another, until one of them fails.
    """

    def sweep(self, arguments: list[str]) -> Any:
        from diffusion_lab.errors import LabError

        assert self.hydra_context is not None
        assert self.config is not None
        is_train = self.config.hydra.job.config_name == "train"
        if is_train and not str(self.config.hydra.launcher["_target_"]).endswith(".BasicLauncher"):
            raise LabError("hydra/launcher cannot be chosen: launcher=… says where the jobs of a sweep run, see --help")
        if is_train and ("TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1):
            raise LabError(
                "-m cannot be used in several processes that torchrun or srun started: a sweep starts its processes "
                "itself; run the command in one process, with trainer=ddp or launcher=submitit_slurm"
            )
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (jobs,) = self.split_arguments(parser.parse_overrides([*self._parse_config(), *arguments]), None)
        checked = [self._compose_and_check(overrides, len(jobs)) for overrides in jobs]
        if not is_train:
            return super().sweep(arguments)

        from diffusion_lab.sweeps.sweep import sweep

        return sweep(checked)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: `sweep` has checked every job already."""

    def _compose_and_check(self, overrides: Sequence[str], jobs: int) -> tuple[Any, list[str], dict[str, Any]]:
        """Return a job's settings, the overrides of its run, and the option of each of its config groups.

        Raises:
            LabError: if the config is invalid.
        """
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
