"""Lightning's trainer, from a composed config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from diffusion_lab.config.build import Parts
from diffusion_lab.config.instantiate import make
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.loggers import make_loggers
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO
from diffusion_lab.training.epoch_means import EpochMeans
from diffusion_lab.training.strategy import strategy_and_plugins


def make_trainer(cfg: DictConfig, folder: RunFolder, parts: Parts, callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """The trainer that `cfg` describes, with its callbacks (and `callbacks`) and loggers, for a run in `folder`."""
    node: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    replaced, plugins = strategy_and_plugins(node["trainer"])
    made = make_callbacks(node, parts)
    filled = {
        "callbacks": [EpochMeans(), *(callback for callback in made.values() if callback is not None), *callbacks],
        "logger": make_loggers(node["logger"], folder) or False,
        "default_root_dir": str(folder.path),
        "plugins": [AtomicCheckpointIO(), *plugins],
    }
    # The bar is a callback of ours.
    arguments = {**node["trainer"], "enable_progress_bar": False, **replaced}
    trainer = make({"_target_": "pytorch_lightning.Trainer", **arguments}, "trainer", filled)
    if isinstance(node["trainer"].get("profiler"), str):  # Lightning would write its table to the log
        trainer.profiler.dirpath, trainer.profiler.filename = folder.path, "profile"
    return trainer


def make_callbacks(node: Mapping[str, Any], parts: Parts) -> dict[str, Any]:
    """The callbacks by name, from the whole config as a plain container; what a run knows is filled in."""
    bar = node["trainer"].get("enable_progress_bar", True)
    made = make(node["callbacks"], "callbacks", {"pipeline": parts.pipeline, "bar": bar})
    if not node.get("ema"):
        return made
    # First, so that the others see the average of the step that has been made.
    return {"ema": make(node["ema"], "ema", {}), **made}
