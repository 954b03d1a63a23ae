"""Prepare a training run: a new one, one that is resumed, or one that this process joins as a further rank."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from diffusion_lab import console
from diffusion_lab.config.build import Parts, recordable
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.errors import LabError
from diffusion_lab.exchange.read_foreign import is_foreign, read_foreign
from diffusion_lab.machine.allocation_limit import allocation_limit
from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.hardware_check import warn_of_lost_updates
from diffusion_lab.machine.ranks import is_rank_zero
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.layout import layout_version
from diffusion_lab.run_folder.manifest import Manifest
from diffusion_lab.runs import resume
from diffusion_lab.runs.adopt import loadable
from diffusion_lab.runs.load import check_optimizer_states, errors_of, named_checkpoint, weights_limit
from diffusion_lab.runs.load_weights import load_weights
from diffusion_lab.runs.trainer import make_trainer
from diffusion_lab.runs.validate import check_against_data, validated
from diffusion_lab.training.checkpoint_io import read_checkpoint

#: Overrides of a resumed run that are for this session, and change nothing of the run.
_SESSION_KEYS = ("resume=", "console=")


@dataclass(frozen=True)
class Start:
    """Where a run starts from.

    Attributes:
        settings: of the run.
        overrides: that were typed to get them, for the record.
        options: the option of each config group, for the record; None where they are on record already.
        folder: of a run that exists; None for a new one.
        checkpoint: to go on from; None to start at step 0.
    """

    settings: TrainConfig
    overrides: list[str]
    options: Mapping[str, str | None] | None = None
    folder: RunFolder | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True)
class PreparedRun:
    """A run that is built and checked.

    Attributes:
        start: where it starts from.
        folder: its run folder; the folder of all runs in a process that writes nothing.
        parts: what was built from the settings, with the weights that training starts with.
        trainer: with its callbacks and loggers.
        steps_done: the number of optimizer steps behind the checkpoint.
    """

    start: Start
    folder: RunFolder
    parts: Parts
    trainer: pl.Trainer
    steps_done: int

    @property
    def settings(self) -> TrainConfig:
        return self.start.settings


def new_start(settings: TrainConfig, overrides: Sequence[str], options: Mapping[str, str | None]) -> Start:
    """Return the start of a new run. The options of Hydra's own groups are not recorded."""
    chosen = {group: option for group, option in options.items() if not group.startswith("hydra/")}
    return Start(recordable(settings), list(overrides), chosen)


def resumed_start(folder: RunFolder, overrides: Sequence[str], loggers: Mapping[str, Any] | None = None) -> Start:
    """Return the start of the run in `folder` from its last good checkpoint.

    Args:
        folder: of the run.
        overrides: that were typed for this session; some of them may change the settings.
        loggers: for this session; None for the recorded ones.

    Raises:
        LabError: naming what cannot be changed, or is damaged.
    """
    changes = [text.lstrip("+") for text in overrides if not text.startswith(_SESSION_KEYS)]
    settings = resume.resumed_settings(folder, [c for c in changes if not sets_loggers(c)], loggers)
    checkpoint = resume.last_good_checkpoint(folder)
    return Start(settings, folder.read_overrides() + changes, folder=folder, checkpoint=checkpoint)


def sets_loggers(override: str) -> bool:
    """Return whether an override says something about the loggers."""
    return re.match(r"[+~]*logger[=.@]", override) is not None or override == "~logger"


def joined_start(folder: RunFolder) -> Start:
    """Return the start of a process that joins the run in `folder`, which rank 0 has checked and recorded."""
    checkpoint = folder.path / "checkpoints" / "last.ckpt"
    settings = read_settings(TrainConfig, folder.read_config())
    return Start(settings, [], folder=folder, checkpoint=checkpoint if checkpoint.is_file() else None)


def prepare(start: Start, callbacks: Sequence[pl.Callback]) -> PreparedRun:
    """Build and check a run. Nothing is written but the folder of a new run, which is removed if the run is refused.

    Args:
        start: where it starts from.
        callbacks: besides those of its settings.

    Raises:
        LabError: naming what does not fit.
    """
    settings = start.settings
    torch.set_float32_matmul_precision("high")
    keep_freed_memory()
    with (
        errors_of(start.folder) if start.folder else nullcontext(),
        weights_limit(start.checkpoint) if start.checkpoint else allocation_limit(),
    ):
        parts = validated(settings)
    if (warning := parts.pipeline.warning) is not None:
        console.current().warning(warning)
    warn_of_lost_updates(settings.trainer)
    if is_rank_zero():
        parts.data.prepare_data()
    steps_done = _load_first_weights(start, parts)
    folder = start.folder or _new_folder(settings)
    try:
        trainer = make_trainer(settings, folder, parts, callbacks)
        check_against_data(settings, parts, trainer)
    except BaseException:
        if start.folder is None and is_rank_zero():
            folder.discard()
        raise
    return PreparedRun(start, folder, parts, trainer, steps_done)


def record_start(run: PreparedRun) -> Manifest:
    """Record the config and a new session in the run folder, which must be held, and tidy up after earlier sessions.

    Raises:
        LabError: if the data is not the data that a resumed run was trained on.
    """
    start = run.start
    if start.folder is not None:
        resume.remove_temporary_files(run.folder)
        resume.check_data(run.folder, run.parts.data)
        resume.rewind_logs(run.trainer.loggers, run.steps_done)
    run.folder.write_config(run.settings.as_node(), start.overrides)
    manifest = Manifest(run.folder, run.settings.seed)
    resume.warn_of_changed_environment(manifest.content["sessions"])
    if start.options is not None:
        manifest.add(options=start.options)
    return manifest


def _load_first_weights(start: Start, parts: Parts) -> int:
    """Load the weights of the checkpoint or of `init_from`, and return the number of steps behind the checkpoint.

    They are loaded before anything is written, though the trainer restores those of a checkpoint once more.
    """
    source = start.checkpoint
    if source is None and start.settings.init_from is not None:
        path = Path(start.settings.init_from)
        if is_foreign(path):
            model = read_foreign(path, start.settings.init_flags)
            model.check_network(start.settings.network)
            load_weights(parts.module, loadable(model, parts.network, path), path)
            return 0
        if start.settings.init_flags is not None:
            raise LabError(f"init_flags are for a checkpoint of improved-diffusion or ADM, and {path} is none")
        origin = RunFolder.open(path)
        layout_version(origin.path, origin.read_manifest())  # a newer one is refused
        source = named_checkpoint(origin, "last")
    if source is None:
        return 0
    state: dict[str, Any] = read_checkpoint(source)
    load_weights(parts.module, state["state_dict"], source)
    if start.checkpoint is not None:
        check_optimizer_states(parts.module, state.get("optimizer_states", []), source)
        try:
            parts.module.on_load_checkpoint(state)
        except ValueError as error:
            raise LabError(f"{source} is damaged: {error}") from error
    return 0 if start.checkpoint is None else int(state["global_step"])


def _new_folder(settings: TrainConfig) -> RunFolder:
    # Ranks that were not started by rank 0 (torchrun, SLURM) write nothing, and need no folder.
    outputs = settings.paths.output_dir
    return RunFolder.create(outputs, settings.name) if is_rank_zero() else RunFolder(outputs)
