"""Lightning's trainer with its callbacks and loggers, from a run's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl

from diffusion_lab.config.build import Parts
from diffusion_lab.config.instantiate import construct, make
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.evaluation import Result
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.evaluation_options import with_common_options
from diffusion_lab.runs.evaluations import evaluate_now
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
    made = make_callbacks(settings, parts, folder)
    filled = {
        "callbacks": [EpochMeans(), *(callback for callback in made.values() if callback is not None), *callbacks],
        "logger": make_loggers(settings, folder) or False,
        "default_root_dir": str(folder.path),
        "plugins": [AtomicCheckpointIO(), *plugins],
    }
    # The progress bar is a callback of this project.
    arguments = {**node, "enable_progress_bar": False, **replaced}
    trainer = construct(pl.Trainer, arguments, "trainer", filled, filled)
    if isinstance(node.get("profiler"), str):  # else Lightning writes its table to the log
        trainer.profiler.dirpath, trainer.profiler.filename = folder.path, "profile"
    return trainer


def make_callbacks(settings: TrainConfig, parts: Parts, folder: RunFolder | None = None) -> dict[str, Any]:
    """Return the callbacks by name; the pipeline, the run's evaluations and whether there is a bar are filled in.

    Without a folder they cannot be used, only checked.
    """
    bar = settings.trainer.get("enable_progress_bar", True)

    def evaluate(num_samples: int, seeds: int, step: int, on_step: Callable[[object], None]) -> Mapping[str, Result]:
        assert folder is not None
        evaluation = with_common_options(settings.evaluation, {"num_samples": num_samples, "seeds": seeds})
        return evaluate_now(replace(settings, evaluation=evaluation), parts, folder, step, bar=False, on_step=on_step)

    filled = {"pipeline": parts.pipeline, "bar": bar, "evaluate": evaluate}
    made = make(settings.callbacks, "callbacks", filled)
    if not settings.ema:
        return made
    # First, so that after each step the other callbacks see the average that includes it.
    return {"ema": make(settings.ema, "ema", {}), **made}
