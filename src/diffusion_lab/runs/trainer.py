"""Lightning's trainer with its callbacks and loggers, from a run's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from diffusion_lab.config.build import Parts
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.loggers import make_loggers
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO
from diffusion_lab.training.epoch_means import EpochMeans
from diffusion_lab.training.strategy import strategy_and_plugins


def make_trainer(
    settings: TrainConfig, folder: RunFolder, parts: Parts, callbacks: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    """Return the trainer of a run in `folder`, with the callbacks of its settings, `callbacks` and its loggers."""
    node = settings.trainer
    replaced, plugins = strategy_and_plugins(node)
    made = make_callbacks(settings, parts)
    filled = {
        "callbacks": [EpochMeans(), *(callback for callback in made.values() if callback is not None), *callbacks],
        "logger": make_loggers(settings, folder) or False,
        "default_root_dir": str(folder.path),
        "plugins": [AtomicCheckpointIO(), *plugins],
    }
    # The progress bar is a callback of this project.
    arguments = {**node, "enable_progress_bar": False, **replaced}
    name, allowed = "pytorch_lightning.Trainer", settings.allowed_targets
    if allowed is not None:
        allowed = {**allowed, "trainer": {name, *allowed.get("trainer", ())}}
    trainer = make({**arguments, "_target_": name}, "trainer", filled, allowed, filled)
    if isinstance(node.get("profiler"), str):  # else Lightning writes its table to the log
        trainer.profiler.dirpath, trainer.profiler.filename = folder.path, "profile"
    return trainer


def make_callbacks(settings: TrainConfig, parts: Parts) -> dict[str, Any]:
    """Return the callbacks by name; the pipeline, and whether there is a progress bar, are filled in."""
    bar = settings.trainer.get("enable_progress_bar", True)
    made = make(settings.callbacks, "callbacks", {"pipeline": parts.pipeline, "bar": bar}, settings.allowed_targets)
    if not settings.ema:
        return made
    # First, so that after each step the other callbacks see the average that includes it.
    return {"ema": make(settings.ema, "ema", {}, settings.allowed_targets), **made}
