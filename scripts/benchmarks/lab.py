"""Contender (b), this project: the composed config, Lightning's trainer with all callbacks, and the sampling loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from diffusion_lab.config.build import build
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.noise import Noise
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.trainer import make_trainer

#: Overrides that switch off validation, checkpoints and samples, which are not part of a step.
STEPS_ONLY = (
    "trainer.max_epochs=-1",
    "trainer.limit_val_batches=0",
    "callbacks.checkpoints.every_n_epochs=1000000",
    "callbacks.samples.every_n_epochs=0",
    "sampler.variance=beta",
    "clip=none",
)


class Ticker(pl.Callback):
    """Calls `tick` after each step."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self.tick = tick

    def on_train_batch_end(self, *_: Any) -> None:
        self.tick()


def composed(overrides: Sequence[str], fixed: Sequence[str] = STEPS_ONLY) -> TrainConfig:
    """Return the settings of the training run, with the overrides `fixed` and then `overrides`."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return read_settings(TrainConfig, compose("train", [*fixed, *overrides]))


def train(overrides: Sequence[str], compiled: bool, tick: Callable[[], None], exact: bool = True) -> None:
    """Train with Lightning, without end; unless `exact`, leave out what each step does for exact resuming."""
    settings = composed(overrides if exact else [*overrides, "~callbacks.ledger"])
    if not exact:
        draw_in_sequence()
    parts = build(settings)
    parts.data.prepare_data()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = make_trainer(settings, RunFolder.create(scratch, "benchmark"), parts)
        trainer.callbacks.append(Ticker(tick))  # type: ignore[attr-defined]
        if compiled:
            compile_network(parts.network, trainer.strategy.root_device)
        trainer.fit(parts.module, datamodule=parts.data)


def draw_in_sequence() -> None:
    """Let all noise of this process come from torch's generator in sequence, instead of from addresses."""

    def normal(self: Noise, shape: Sequence[int]) -> torch.Tensor:
        return torch.randn((len(self.rows), *shape), device=self.rows.device)

    def uniform(self: Noise, shape: Sequence[int] = ()) -> torch.Tensor:
        return torch.rand((len(self.rows), *shape), device=self.rows.device, dtype=torch.float64)

    Noise.normal, Noise.uniform = normal, uniform  # type: ignore[method-assign]
    torch.manual_seed(0)
    torch.manual_seed = lambda seed: torch.default_generator


def sample(
    overrides: Sequence[str],
    batch_size: int,
    device: torch.device,
    precision: str,
    compiled: bool,
    tick: Callable[[], None],
) -> None:
    """Draw samples without end."""
    parts = build(composed(overrides))
    parts.network.to(device)
    if compiled:
        compile_network(parts.network, device)
    while True:
        parts.pipeline.sample(batch_size, batch_size=batch_size, precision=precision, on_step=lambda _: tick())
