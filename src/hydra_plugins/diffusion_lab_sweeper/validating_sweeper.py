"""Hydra's sweeper, made to validate all jobs of a sweep before the first one starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict


class ValidatingSweeper(BasicSweeper):
    """The basic sweeper; a job whose config is refused stops the sweep before anything is written."""

    def sweep(self, arguments: list[str]) -> Any:
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        (jobs,) = self.split_arguments(parser.parse_overrides([*self._parse_config(), *arguments]), None)
        for overrides in jobs:
            self._validate(overrides, len(jobs))
        return super().sweep(arguments)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing is left to do: `sweep` has seen every job."""

    def _validate(self, overrides: Sequence[str], jobs: int) -> None:
        from diffusion_lab.errors import LabError
        from diffusion_lab.runs.validate import CHECKS

        assert self.hydra_context is not None
        assert self.config is not None
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        check = CHECKS[str(cfg.hydra.job.config_name)]
        with open_dict(cfg):
            del cfg["hydra"]  # as in the job itself
        try:
            check(cfg)
        except LabError as error:
            raise LabError(f"{error} (in the job {' '.join(overrides)}; none of the {jobs} was started)") from error
