"""Resume a run as if it had never stopped: its settings, checkpoint, data, logs and environment."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.loggers import TensorBoardLogger

from diffusion_lab import console
from diffusion_lab.config.build import recordable
from diffusion_lab.config.instantiate import checked_call
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import existing_data_dir, with_overrides
from diffusion_lab.data import DataModule
from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import link_or_copy
from diffusion_lab.machine.bounded_read import check_second_names
from diffusion_lab.machine.ranks import is_rank_zero
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.layout import LAYOUT_VERSION, layout_version
from diffusion_lab.run_folder.trust import trusted
from diffusion_lab.runs.load import errors_of, named_checkpoint, recorded_settings
from diffusion_lab.runs.loggers import local_loggers
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.checkpoints import checkpoint_path, earlier_checkpoints
from diffusion_lab.training.csv_log import AppendingCSVLogger
from diffusion_lab.training.graceful_interrupt import slurm_job
from diffusion_lab.training.power_ema import FOLDER as AVERAGES
from diffusion_lab.training.time_limit import seconds

#: Limits that may be raised when a run is resumed.
_LIMITS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")

#: Keys that may be changed, with all below them, since they do not affect the result.
_FREE = (
    "paths.data_dir",
    "data.path",
    "data.in_memory",
    "data.workers",
    "callbacks.checkpoints",
    "callbacks.progress",
    "trainer.enable_progress_bar",
    "tags",
    "notes",
)


def resumed_settings(
    folder: RunFolder, changes: Sequence[str], loggers: Mapping[str, Any] | None = None
) -> TrainConfig:
    """Return the settings of the run in `folder`, with changes as ``key=value``.

    Args:
        folder: of the run.
        changes: to its config, but for its loggers.
        loggers: to use instead of the recorded ones; None for those.

    Raises:
        LabError: naming a change that would make it another run, the limit that leaves nothing to do, or a recorded
            logger that would send data elsewhere.
    """
    version = layout_version(folder.path, folder.read_manifest())
    if version != LAYOUT_VERSION:
        raise LabError(
            f"{folder.path} has version {version} of the run folder's layout, whose checkpoints cannot be resumed "
            f"here: start a new run from its weights with init_from={folder.path}, or resume it with the version "
            "of the code that made it"
        )
    check_second_names(folder.path)
    recorded = recorded_settings(folder, trusted(folder.read_config(), folder.path / "config.yaml"))
    for change in changes:
        key = change.partition("=")[0]
        if key not in _LIMITS and not any(key == free or key.startswith(f"{free}.") for free in _FREE):
            raise LabError(
                f"{change}: a resumed run goes on with its own config, of which {', '.join(_LIMITS)} can be raised, "
                f"and {', '.join((*_FREE, 'logger'))} changed; to start a new run from its weights, use init_from"
            )
    node = with_overrides(recorded.as_node(), changes)
    for change in changes:
        if change.startswith(_LIMITS):
            _check_limit(folder, change, recorded.trainer, node["trainer"])
    _check_end(folder, recorded.trainer, node["trainer"])
    if not any(change.startswith(_LIMITS) for change in changes) and _status(folder) == "finished":
        was = recorded.trainer.get("max_epochs")
        raise LabError(f"{folder.path} has finished its training; raise trainer.max_epochs (it was {was}) to train on")
    if not any(change.startswith("paths.data_dir=") for change in changes):
        node["paths"]["data_dir"] = existing_data_dir(node["paths"]["data_dir"])
    check_processes(folder, node["trainer"])
    if loggers is None:
        _check_loggers(folder, node["logger"])
    else:
        node["logger"] = loggers
    changed = recorded_settings(folder, node)
    with errors_of(folder):
        return recordable(changed)


def check_processes(folder: RunFolder, trainer: Mapping[str, Any]) -> None:
    """Check that a recorded run does not start more processes than this machine has cores and GPUs.

    Raises:
        LabError: naming the file and the key.
    """
    devices = trainer.get("devices")
    most = max(os.cpu_count() or 1, torch.cuda.device_count())
    if isinstance(devices, int) and devices > most:
        raise LabError(
            f"{folder.path / 'config.yaml'}: trainer.devices={devices}: the run had {devices} processes, and this "
            f"machine has {most} cores or GPUs for them"
        )


def _check_loggers(folder: RunFolder, recorded: Mapping[str, Any]) -> None:
    local = local_loggers(recorded, folder.path / "config.yaml")
    if others := sorted(key for key, node in recorded.items() if node is not None and key not in local):
        raise LabError(
            f"{folder.path} was logged with {', '.join(others)}, which sends data out of the run folder, as only the "
            f"command line may ask for: add logger={others[0]} with its settings, or logger=default for TensorBoard"
        )


def _check_limit(folder: RunFolder, change: str, recorded: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    key = change.partition("=")[0]
    name = key.removeprefix("trainer.")
    limit = _seconds if name == "max_time" else _limit
    was, new = (limit(trainer.get(name)) for trainer in (recorded, changed))
    if new < was < math.inf:
        raise LabError(f"{change}: it was {recorded[name]}, and the limit of a resumed run can only be raised")
    for typed in folder.read_overrides():
        if f"${{{key}}}" in typed and new > was:
            raise LabError(
                f"{change}: {typed} was derived from it, and a run that is trained on would not be the run that "
                f"had {change} from the start; start a new run, with init_from if you like"
            )


def _check_end(folder: RunFolder, recorded: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    """Check that what ended a finished run before its limits of epochs and steps does not end it again at once."""
    manifest = folder.read_manifest()
    reason = manifest.get("stopped_by") if manifest.get("status") == "finished" else None
    if reason == "early_stopping":
        raise LabError(
            f"{folder.path} was stopped early, and its rule would stop it again; to train without the rule, start a "
            f"new run from its weights with init_from={folder.path}"
        )
    if reason == "max_time" and not _seconds(changed.get("max_time")) > _seconds(was := recorded.get("max_time")):
        raise LabError(f"{folder.path} has used up its time; raise trainer.max_time (it was {was}) to train on")


def _seconds(max_time: Any) -> float:
    return checked_call(lambda: seconds(max_time), "trainer")


def _limit(value: Any) -> float:
    """Return a number of epochs or steps; -1 and null are no limit."""
    try:
        number = math.inf if value is None else float(value)
    except (TypeError, ValueError):
        return math.inf  # its type is checked with the other settings
    return math.inf if number < 0 else number


def find_requeued_run(settings: TrainConfig, overrides: Sequence[str]) -> Path | None:
    """Return the folder of the run that this SLURM job was training before it was requeued, if there is one.

    The runs of a sweep or a search belong to one job: it is the one with the same overrides.
    """
    job = slurm_job()
    if job is None or not int(os.environ.get("SLURM_RESTART_COUNT", "0")):
        return None
    for config in sorted((Path(settings.paths.output_dir) / settings.name).glob("*/config.yaml"), reverse=True):
        folder = RunFolder(config.parent)
        sessions = folder.read_manifest().get("sessions") or [{}]
        same = sessions[-1].get("slurm_job") == job and folder.read_overrides() == list(overrides)
        unfinished = _status(folder) in ("running", "interrupted")
        if same and unfinished and checkpoint_path(folder.path, "last").is_file():
            return folder.path
    return None


def last_good_checkpoint(folder: RunFolder) -> Path | None:
    """Return `last.ckpt`, or the newest checkpoint before it that can be read; None if nothing has been saved yet.

    Checkpoints that cannot be read are reported and renamed. Where several processes look at the same time (as torchrun
    and srun start them), only rank 0 renames files, and the others find the checkpoint before and after it has.

    Raises:
        LabError: if there are checkpoints, and none can be read.
    """
    last = checkpoint_path(folder.path, "last")
    damaged: list[tuple[Path, LabError]] = []
    for path in filter(Path.is_file, [last, *earlier_checkpoints(folder.path)]):
        try:
            read_checkpoint(path)
        except LabError as error:
            damaged.append((path, error))
            continue
        if not is_rank_zero():
            return path
        for bad, reason in damaged:
            bad.replace(bad.with_suffix(".damaged"))
            console.current().warning(f"{reason}; it is renamed to {bad.with_suffix('.damaged').name}")
        if path != last:
            console.current().note(f"going on from {path.name}, which was saved before it")
            try:
                link_or_copy(path, last)
            except OSError as unwritable:
                raise LabError(f"cannot write {last}: {unwritable.strerror}") from unwritable
        return last
    if damaged:
        raise LabError(f"{damaged[0][1]}; no earlier checkpoint can be used")
    if _status(folder) == "finished":
        return named_checkpoint(folder, "last")
    console.current().note("nothing had been saved yet: the run starts from the beginning")
    return None


def check_data(folder: RunFolder, data: DataModule) -> None:
    """Check that the data is the data that the run was trained on.

    Raises:
        LabError: naming the split that differs.
    """
    recorded = folder.read_manifest().get("data") or {}
    for split, found in data.fingerprint().items():
        if recorded.get(split, found) != found:
            raise LabError(
                f"the {split} data differs from the data that {folder.path} was trained on (hash {found}, there "
                f"{recorded[split]}): its files, in paths.data_dir or where data.* says, are others"
            )


def rewind_logs(loggers: Iterable[Any], step: int) -> None:
    """Remove from the logs what was logged after `step` optimizer steps, those of the checkpoint: it is done again."""
    for logger in loggers:
        if isinstance(logger, AppendingCSVLogger):
            logger.remove_rows_from(step)
        if isinstance(logger, TensorBoardLogger):  # TensorBoard hides older points from this step on
            # A loss is logged at the index of its step, from 0; a figure at the number of steps before it.
            logger._kwargs["purge_step"] = step + 1 if step else 0


def remove_temporary_files(folder: RunFolder) -> None:
    """Remove the temporary files of a process that was killed while it wrote them; the folder must be held."""
    checkpoints = folder.path / "checkpoints"
    for place in (folder.path, checkpoints, checkpoints / AVERAGES, folder.path / "csv", folder.figures):
        for path in place.glob(".*.tmp"):
            path.unlink(missing_ok=True)


def warn_of_changed_environment(sessions: Sequence[Mapping[str, Any]]) -> None:
    """Warn if the versions, threads or hardware of the last session differ from those of the session before."""
    if len(sessions) < 2:
        return
    before, now = ({**session.get("versions", {}), **session.get("hardware", {})} for session in sessions[-2:])
    names = [name for name in now if before.get(name, now[name]) != now[name]]
    if names:
        changed = ", ".join(f"{name} {now[name]} (it was {before[name]})" for name in names)
        console.current().warning(
            f"the run goes on with {changed}: from here on it may differ in the last bits from a run without the stop"
        )


def _status(folder: RunFolder) -> Any:
    return folder.read_manifest().get("status")
