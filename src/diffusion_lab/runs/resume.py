"""What it takes to go on with a run as if it had never stopped."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger

from diffusion_lab import console
from diffusion_lab.data import DataModule
from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import link_or_copy
from diffusion_lab.machine.ranks import is_rank_zero
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.trust import trusted
from diffusion_lab.runs.load import named_checkpoint
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.checkpoints import checkpoint_path, earlier_checkpoints
from diffusion_lab.training.csv_log import AppendingCSVLogger
from diffusion_lab.training.graceful_interrupt import slurm_job

#: What may be raised when a run is resumed.
_LIMITS = ("trainer.max_epochs", "trainer.max_steps")

#: What may be changed, since it decides nothing of the result: keys, and all below them.
_FREE = (
    "paths.data_dir",
    "callbacks.checkpoints",
    "callbacks.progress",
    "trainer.enable_progress_bar",
    "tags",
    "notes",
)


def resumed(folder: RunFolder, changes: Sequence[str]) -> DictConfig:
    """The config of the run in `folder`, with what may be changed of it.

    Raises:
        LabError: naming the change that would make another run of it, or the limit that leaves nothing to do.
    """
    cfg = trusted(folder.read_config(), folder.path / "config.yaml")
    for change in changes:
        key, _, value = change.partition("=")
        if key in _LIMITS:
            _check_limit(folder, cfg, key, value)
        elif not any(key == free or key.startswith(f"{free}.") for free in _FREE):
            raise LabError(
                f"{change}: a resumed run goes on with its own config, of which {' and '.join(_LIMITS)} can be raised, "
                f"and {', '.join(_FREE)} changed; to start a new run from its weights, use init_from"
            )
    if not any(change.startswith(_LIMITS) for change in changes) and _status(folder) == "finished":
        was = cfg.trainer.get("max_epochs")
        raise LabError(f"{folder.path} has finished its training; raise trainer.max_epochs (it was {was}) to train on")
    given = OmegaConf.from_dotlist(list(changes))
    if isinstance(data_dir := OmegaConf.select(given, "paths.data_dir"), str):
        given.paths.data_dir = str(Path(data_dir).expanduser().resolve())  # as that of a new run
    return OmegaConf.merge(cfg, given)  # type: ignore[return-value]


def _check_limit(folder: RunFolder, cfg: DictConfig, key: str, value: str) -> None:
    was, new = (_limit(OmegaConf.select(cfg, key)), _limit(OmegaConf.create({"v": value}).v))
    if new < was < math.inf:
        raise LabError(f"{key}={value}: it was {was:g}, and of a resumed run it can only be raised")
    for typed in folder.read_overrides():
        if f"${{{key}}}" in typed and new > was:
            raise LabError(
                f"{key}={value}: {typed} was derived from it, and a run that is trained on would not be the run that "
                f"had {key}={value} from the start; start a new run, with init_from if you like"
            )


def _limit(value: Any) -> float:
    """How many epochs or steps; -1 and null are no limit."""
    try:
        number = math.inf if value in (None, "null") else float(value)
    except (TypeError, ValueError):
        return math.inf  # its type is checked with the rest of the config
    return math.inf if number < 0 else number


def requeued(cfg: DictConfig, overrides: Sequence[str]) -> Path | None:
    """The folder of the run that this SLURM job was training before it was put into the queue again.

    Of the runs of a sweep or a search, which are all of one job, the one for which the same was typed.
    """
    job = slurm_job()
    if job is None or not int(os.environ.get("SLURM_RESTART_COUNT", "0")):
        return None
    for config in sorted((Path(cfg.paths.output_dir) / cfg.name).glob("*/config.yaml"), reverse=True):
        folder = RunFolder(config.parent)
        sessions = folder.read_json("manifest.json").get("sessions") or [{}]
        same = sessions[-1].get("slurm_job") == job and folder.read_overrides() == list(overrides)
        unfinished = _status(folder) in ("running", "interrupted")
        if same and unfinished and checkpoint_path(folder.path, "last").is_file():
            return folder.path
    return None


def last_good_checkpoint(folder: RunFolder) -> Path | None:
    """`last.ckpt`, or the newest one before it that can be read; what cannot is reported and put aside.

    None where nothing had been saved yet: the run begins anew. Of several processes that look at the same time (as
    torchrun and srun start them), only rank 0 moves files, and the others find theirs whether it already has or not.

    Raises:
        LabError: if there were some, and none can be read.
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
            console.current().warning(f"{reason}; it is put aside as {bad.with_suffix('.damaged').name}")
        if path != last:
            console.current().note(f"going on from {path.name}, which was saved before it")
            try:
                link_or_copy(path, last)
            except OSError as unwritable:
                raise LabError(f"cannot write {last}: {unwritable.strerror}") from unwritable
        return last
    if damaged:
        raise LabError(f"{damaged[0][1]}; there is no checkpoint before it that could be used")
    if _status(folder) == "finished":  # to be trained on
        return named_checkpoint(folder, "last")
    console.current().note("nothing had been saved yet: the run begins anew")
    return None


def check_data(folder: RunFolder, data: DataModule) -> None:
    """Refuse to go on with other data.

    Raises:
        LabError: naming the split that differs.
    """
    recorded = folder.read_json("manifest.json").get("data") or {}
    for split, found in data.fingerprint().items():
        if recorded.get(split, found) != found:
            raise LabError(
                f"the {split} data is not that that {folder.path} was trained on (hash {found}, there "
                f"{recorded[split]}): paths.data_dir holds other files"
            )


def go_back(folder: RunFolder, loggers: Iterable[Any], step: int) -> None:
    """Let the logs forget what was done after `step` optimizer steps, the checkpoint's: it will be done again."""
    for logger in loggers:
        if isinstance(logger, AppendingCSVLogger):
            logger.remove_rows_from(step)
        if isinstance(logger, TensorBoardLogger):  # it shows no older point from there on
            # A loss has the number of its step, from 0; a figure that of the steps before it.
            logger._kwargs["purge_step"] = step + 1 if step else 0


def remove_half_written(folder: RunFolder) -> None:
    """Remove the temporary files of a process that was killed; the folder must be held."""
    for place in (folder.path, folder.path / "checkpoints", folder.path / "csv"):
        for path in place.glob(".*.tmp"):
            path.unlink(missing_ok=True)


def warn_of_other_bits(sessions: Sequence[Mapping[str, Any]]) -> None:
    """One line if this session's versions, threads or hardware are not those of the one before."""
    if len(sessions) < 2:
        return
    before, now = ({**session.get("versions", {}), **session.get("hardware", {})} for session in sessions[-2:])
    others = [f"{name} {now[name]} (it was {before[name]})" for name in now if before.get(name, now[name]) != now[name]]
    if others:
        console.current().warning(
            f"the run goes on with {', '.join(others)}: from here on it may differ in the last bits from what it would "
            "have been"
        )


def _status(folder: RunFolder) -> Any:
    return folder.read_json("manifest.json").get("status")
