"""The loggers of a run: Lightning's own, whose packages may not be installed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffusion_lab import console
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder

#: Loggers that write to the run folder alone.
_LOCAL = ("diffusion_lab.training.csv_log.AppendingCSVLogger", "pytorch_lightning.loggers.TensorBoardLogger")


#: Their arguments that a run folder may set, besides numbers and switches: a plain word.
_ARGUMENTS = ("name", "version", "sub_dir", "prefix", "flush_logs_every_n_steps", "default_hp_metric", "log_graph")


def local_loggers(recorded: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return those nodes of recorded loggers that write to the run folder alone; the others send data elsewhere.

    Where that is, with whose account, is for the person who runs a command, and not for a run folder.

    Args:
        recorded: the node ``logger`` of a recorded config.
        path: its file.

    Raises:
        LabError: naming the file and the key of an argument that would lead elsewhere; Lightning's loggers open what a
            folder's name says, which may be an address, when they are made.
    """
    local = {}
    for key, node in recorded.items():
        if node is None:
            continue
        if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
            raise LabError(f"{path}: logger.{key} must be one logger, with a _target_")
        if node["_target_"] not in _LOCAL:
            continue
        for name, value in node.items():
            plain = value is None or isinstance(value, bool | int | float)
            word = isinstance(value, str) and re.fullmatch(r"[\w\-]*(\.[\w\-]+)*", value) is not None
            if name != "_target_" and not (name in _ARGUMENTS and (plain or word)):
                raise LabError(
                    f"{path}: logger.{key}.{name}={ascii(value)[:60]}: a run folder may set {', '.join(_ARGUMENTS)} "
                    "of its loggers, each to a number or a word"
                )
        local[key] = node
    return local


def make_loggers(settings: TrainConfig, folder: RunFolder) -> list[Any]:
    """Return the loggers of a run; arguments that are named like the run's folder or name are filled in.

    Raises:
        LabError: with the command that installs the package that a logger needs, or naming a logger that would write
            elsewhere.
    """
    name = folder.path.name
    place = {"save_dir": str(folder.path), "name": name, "id": name, "run_name": name}
    # W&B repeats all numbers on the terminal unless it is quiet; where stdout is for programs, it must be silent.
    os.environ.setdefault("WANDB_SILENT" if console.current().redirects_stdout else "WANDB_QUIET", "true")
    made = []
    for key, logger in settings.logger.items():
        try:
            made.append(make(logger, f"logger.{key}", place))
        except LabError as error:
            missing = error.__cause__
            if not isinstance(missing, ModuleNotFoundError):
                raise
            required = re.search(r"Requirement '([\w.-]+)", str(missing))  # the text of Lightning's error
            package = required[1] if required else missing.name
            raise LabError(f"logger={key} needs the package {package}: pip install {package}") from error
    for logger in made:
        # Lightning passes this to W&B, which warns that it has no effect.
        getattr(logger, "_wandb_init", {}).pop("anonymous", None)
        _check_place(logger, folder)
    return [logger for logger in made if logger is not None]


def _check_place(logger: Any, folder: RunFolder) -> None:
    """Check that what a logger writes lies in the run folder; W&B and MLflow have places of their own besides.

    Raises:
        LabError: naming the logger and its folder.
    """
    names = [str(getattr(logger, name, None) or "") for name in ("name", "version", "sub_dir")]
    if any("$" in name or name.startswith("~") for name in names):  # TensorBoard's logger would fill in variables
        raise LabError(f"logger: {type(logger).__name__} has a name with a variable of this machine in it: {names}")
    for place in (getattr(logger, "log_dir", None), getattr(logger, "root_dir", None)):
        if place is not None and not Path(place).resolve().is_relative_to(folder.path.resolve()):
            raise LabError(f"logger: {type(logger).__name__} would write to {place}, which is not in {folder.path}")


def close_loggers(loggers: Iterable[Any], status: str) -> None:
    """Flush and close the loggers of a run.

    Args:
        loggers: of the run.
        status: ``success`` or ``failed``.
    """
    for logger in loggers:
        logger.finalize(status)
        # W&B keeps a run open in the process until it is finished, which Lightning leaves to its users.
        if hasattr(logger.experiment, "finish"):
            logger.experiment.finish(exit_code=int(status != "success"))
