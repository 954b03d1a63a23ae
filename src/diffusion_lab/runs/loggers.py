"""The loggers of a run. Lightning's are used as they are; what they log to may not be installed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from diffusion_lab import console
from diffusion_lab.config.instantiate import make
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder


def make_loggers(node: Mapping[str, Any], folder: RunFolder) -> list[Any]:
    """The loggers of a config node; the run's folder and name are filled in by the names of their arguments.

    Raises:
        LabError: with the command that installs what a logger needs.
    """
    name = folder.path.name
    place = {"save_dir": str(folder.path), "name": name, "id": name, "run_name": name}
    # W&B would repeat all numbers on the terminal; where stdout is for programs, it says nothing at all.
    os.environ.setdefault("WANDB_SILENT" if console.current().redirects_stdout else "WANDB_QUIET", "true")
    made = []
    for key, logger in node.items():
        try:
            made.append(make(logger, f"logger.{key}", place))
        except LabError as error:
            missing = error.__cause__
            if not isinstance(missing, ModuleNotFoundError):
                raise
            required = re.search(r"Requirement '([\w.-]+)", str(missing))  # Lightning's words
            package = required[1] if required else missing.name
            raise LabError(f"logger={key} needs the package {package}: pip install {package}") from error
    for logger in made:
        # Lightning hands this on to W&B, which answers only that it has no effect.
        getattr(logger, "_wandb_init", {}).pop("anonymous", None)
    return [logger for logger in made if logger is not None]


def close(loggers: Iterable[Any], status: str) -> None:
    """Let the loggers write what they hold back: the next run of a sweep begins with loggers of its own.

    Args:
        loggers: of the run.
        status: ``success`` or ``failed``.
    """
    for logger in loggers:
        logger.finalize(status)
        # W&B keeps one run open in a process until it is told; Lightning does not tell it.
        if hasattr(logger.experiment, "finish"):
            logger.experiment.finish(exit_code=int(status != "success"))
