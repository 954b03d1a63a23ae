"""The project's own step: the composed config, the Lightning trainer with its callbacks, the real sampling loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from diffusion_lab.config.build import build
from diffusion_lab.config.cli import conf_dir
from diffusion_lab.runs.compiled import compile_network
from diffusion_lab.runs.folder import RunFolder
from diffusion_lab.runs.trainer import make_trainer

#: Validation, checkpoints and samples are no part of a step.
STEPS_ONLY = (
    "trainer.max_epochs=-1",
    "trainer.limit_val_batches=0",
    "callbacks.checkpoints.every_n_epochs=1000000",
    "callbacks.samples.every_n_epochs=0",
    "sampler.variance=beta",
    "sampling.clip_x0=false",
)


class Ticker(pl.Callback):
    """Calls `tick` after each step."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self.tick = tick

    def on_train_batch_end(self, *_: Any) -> None:
        self.tick()


def composed(overrides: Sequence[str]) -> DictConfig:
    """The training config."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", [*STEPS_ONLY, *overrides])


def train(overrides: Sequence[str], compiled: bool, tick: Callable[[], None]) -> None:
    """Train through Lightning, for ever."""
    cfg = composed(overrides)
    parts = build(cfg)
    parts.data.prepare_data()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = make_trainer(cfg, RunFolder.create(scratch, "benchmark"), parts)
        trainer.callbacks.append(Ticker(tick))  # type: ignore[attr-defined]
        if compiled:
            compile_network(parts.network, trainer.strategy.root_device)
        trainer.fit(parts.module, datamodule=parts.data)


def sample(
    overrides: Sequence[str],
    batch_size: int,
    device: torch.device,
    precision: str,
    compiled: bool,
    tick: Callable[[], None],
) -> None:
    """Draw after draw."""
    parts = build(composed(overrides))
    parts.network.to(device)
    if compiled:
        compile_network(parts.network, device)
    while True:
        parts.pipeline.sample(batch_size, batch_size=batch_size, precision=precision, on_step=lambda _: tick())
