"""The checkpoints of a run: `last.ckpt` after every epoch, `best.ckpt` at the lowest validation loss."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from diffusion_lab.training.finite import FiniteLoss

MONITORED = "val/loss"


def checkpoint_path(run_dir: str | Path, name: str) -> Path:
    """Where the checkpoint called ``last`` or ``best`` of a run lies."""
    return Path(run_dir) / "checkpoints" / f"{name}.ckpt"


class Checkpoints(Checkpoint):
    """Keeps the newest state and the best one.

    Args:
        every_n_epochs: how often `last.ckpt` is written; it is written at the end of training in any case.
        every_n_steps: write it after so many optimizer steps, too; None not to.

    Lightning's own ModelCheckpoint refreshes its last checkpoint only when a best one was found, and records
    absolute paths in its state; this one does neither.
    """

    def __init__(self, every_n_epochs: int = 1, every_n_steps: int | None = None) -> None:
        if every_n_epochs < 1 or (every_n_steps is not None and every_n_steps < 1):
            raise ValueError(
                "callbacks.checkpoints.every_n_epochs and every_n_steps must be at least 1, "
                f"got {every_n_epochs} and {every_n_steps}"
            )
        self.every_n_epochs = every_n_epochs
        self.every_n_steps = every_n_steps
        self.best_loss = math.inf
        self._saved_at_step = -1

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_loss = float(state_dict["best_loss"])

    def save_last(self, trainer: pl.Trainer) -> None:
        """Write `last.ckpt`; weights that are not finite never replace it."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, FiniteLoss):
                callback.check(trainer)
        trainer.save_checkpoint(checkpoint_path(trainer.default_root_dir, "last"))
        self._saved_at_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        step = trainer.global_step
        if self.every_n_steps and step % self.every_n_steps == 0 and step != self._saved_at_step:
            self.save_last(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or MONITORED not in trainer.callback_metrics:
            return
        loss = float(trainer.callback_metrics[MONITORED])
        if loss < self.best_loss:
            self.best_loss = loss
            trainer.save_checkpoint(checkpoint_path(trainer.default_root_dir, "best"))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self.save_last(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step != self._saved_at_step:
            self.save_last(trainer)
