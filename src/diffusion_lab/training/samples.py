"""Samples while training, always from the same noise, so that one sees them improve."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from diffusion_lab.errors import RunInterrupted
from diffusion_lab.figures import image_grid, record
from diffusion_lab.sampling import Pipeline, Step
from diffusion_lab.training.interrupt import GracefulInterrupt


class SampleGrid(pl.Callback):
    """Draws a grid every few epochs, to TensorBoard and to `figures/`.

    Args:
        pipeline: draws the samples.
        every_n_epochs: how often; 0 for never.
        num_samples: how many; 1 at least.
        seed: of the noise they start from.
    """

    def __init__(self, pipeline: Pipeline, every_n_epochs: int = 5, num_samples: int = 16, seed: int = 0) -> None:
        if every_n_epochs < 0 or num_samples < 1:
            raise ValueError(
                "callbacks.samples.every_n_epochs must not be negative and num_samples at least 1, "
                f"got {every_n_epochs} and {num_samples}"
            )
        self.pipeline = pipeline
        self.every_n_epochs = every_n_epochs
        self.num_samples = num_samples
        self.seed = seed

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        # The last epoch is left to the figures of the finished run.
        due = self.every_n_epochs and epoch % self.every_n_epochs == 0 and epoch != trainer.max_epochs
        if not due or not trainer.is_global_zero:
            return
        interrupts = [c for c in trainer.callbacks if isinstance(c, GracefulInterrupt)]  # type: ignore[attr-defined]

        def stop_if_requested(step: Step) -> None:
            if any(callback.requested for callback in interrupts):
                raise RunInterrupted

        try:
            samples = self.pipeline.sample(self.num_samples, self.seed, on_step=stop_if_requested)
        except RunInterrupted:
            return  # the interrupt's own hook saves and stops
        figure = image_grid(samples, f"Samples after epoch {epoch}")
        folder = Path(trainer.default_root_dir) / "figures"
        record(figure, folder, f"samples_epoch_{epoch:04d}", trainer.loggers, trainer.global_step, "samples")
