"""The checkpoints of a run: `last.ckpt`, from which it resumes, the ones before it, and `best.ckpt`."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from diffusion_lab.machine.atomic_write import link_or_copy
from diffusion_lab.machine.rank_agreement import RankAgreement
from diffusion_lab.training.finite_loss import FiniteLoss
from diffusion_lab.training.step_losses import LossLedger

MONITORED = "val/loss"


def checkpoint_path(run_dir: str | Path, name: str) -> Path:
    """Return the path of a run's checkpoint called ``last`` or ``best``."""
    return Path(run_dir) / "checkpoints" / f"{name}.ckpt"


def earlier_checkpoints(run_dir: str | Path) -> list[Path]:
    """Return the paths of the checkpoints that were saved before `last.ckpt`, the newest first."""
    return sorted((Path(run_dir) / "checkpoints").glob("step_*.ckpt"), reverse=True)


class Checkpoints(Checkpoint):
    """Saves the newest state, a few before it, and the one with the lowest validation loss.

    A state is saved between two steps: when everything that belongs to the previous step (its validation, the end of
    its epoch, its rows in the logs) is done and on the disk, and nothing of the next step has begun. A run that is
    killed at any time can therefore be resumed exactly.

    Args:
        every_n_epochs: save the state after this many epochs; it is also saved at the end of training.
        every_n_steps: also save it after this many optimizer steps; None not to.
        every_n_minutes: also save it after this many minutes; None not to.
        keep: number of states to keep, including `last.ckpt`; None for all. The others are `step_<number>.ckpt`.

    Lightning's own ModelCheckpoint saves before the row of a step is logged, updates its last checkpoint only when
    it found a best one, and records absolute paths in its state.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        every_n_minutes: float | None = None,
        keep: int | None = 2,
    ) -> None:
        for name, value in (("every_n_epochs", every_n_epochs), ("every_n_steps", every_n_steps), ("keep", keep)):
            if value is not None and value < 1:
                raise ValueError(f"callbacks.checkpoints.{name} must be at least 1, got {value}")
        if every_n_minutes is not None and not every_n_minutes > 0:
            raise ValueError(f"callbacks.checkpoints.every_n_minutes must be above 0 or null, got {every_n_minutes}")
        self.every_n_epochs = every_n_epochs
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self.keep = keep
        self.best_loss = math.inf
        self._saved_at_step = 0
        self._saved_at_time = 0.0
        self._agreement: RankAgreement | None = None
        self._saving = False

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_loss = float(state_dict["best_loss"])

    def save_last(self, trainer: pl.Trainer) -> None:
        """Save the state between two steps as `last.ckpt`, unless that has been done since the last step.

        All processes must call it, in `on_train_batch_start` of the first batch of an optimizer step or in
        `on_train_end`.

        Raises:
            LabError: if a training loss was not finite, so that the state must not replace an earlier one; or if the
                file cannot be written.
        """
        step = trainer.global_step
        if step == self._saved_at_step:
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, FiniteLoss):
                callback.check(trainer)
            if isinstance(callback, LossLedger):
                callback.flush(trainer)
        for logger in trainer.loggers:  # a run resumed from this state does not log these rows again
            logger.save()
        if trainer.is_global_zero:
            self._keep_previous(Path(trainer.default_root_dir))
        self._saving = True
        try:
            trainer.save_checkpoint(checkpoint_path(trainer.default_root_dir, "last"))
        finally:
            self._saving = False
        if trainer.is_global_zero:
            self._remove_oldest(Path(trainer.default_root_dir))
        self._saved_at_step, self._saved_at_time = step, time.monotonic()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._saving:
            _normalize_progress(checkpoint["loops"]["fit_loop"], trainer.num_training_batches)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_at_step, self._saved_at_time = trainer.global_step, time.monotonic()
        self._agreement = RankAgreement(trainer.world_size)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0 and self._due(trainer, batch_idx):
            self.save_last(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or MONITORED not in trainer.callback_metrics:
            return
        loss = float(trainer.callback_metrics[MONITORED])
        if loss < self.best_loss:
            self.best_loss = loss
            trainer.save_checkpoint(checkpoint_path(trainer.default_root_dir, "best"))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save_last(trainer)

    def _due(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        epochs, step = trainer.current_epoch, trainer.global_step
        due = batch_idx == 0 and epochs % self.every_n_epochs == 0  # before the first step there is nothing to save
        if self.every_n_steps:
            due |= step // self.every_n_steps > self._saved_at_step // self.every_n_steps
        if self.every_n_minutes:
            assert self._agreement is not None
            minutes = (time.monotonic() - self._saved_at_time) / 60
            due |= bool(self._agreement.largest(int(minutes >= self.every_n_minutes)))
        return due

    def _keep_previous(self, run_dir: Path) -> None:
        """Keep the previous `last.ckpt` under the name `step_<number>.ckpt`."""
        last = checkpoint_path(run_dir, "last")
        if last.is_file() and (self.keep is None or self.keep > 1):
            with contextlib.suppress(OSError):
                link_or_copy(last, last.with_name(f"step_{self._saved_at_step:08d}.ckpt"))

    def _remove_oldest(self, run_dir: Path) -> None:
        if self.keep is not None:
            for path in earlier_checkpoints(run_dir)[self.keep - 1 :]:
                path.unlink()


def _normalize_progress(fit_loop: dict[str, Any], batches: float) -> None:
    """Change the trainer's progress counters, in place, into the form from which Lightning resumes exactly.

    That is the form of a state saved at the end of a batch in the middle of an epoch, or, where an epoch is about to
    begin, one in which no batch of it is done. From other forms, Lightning repeats or skips what follows a step: a
    validation, a step's number in the logs, or with `max_steps` a whole epoch.

    Args:
        fit_loop: the state of the trainer's fit loop in a checkpoint.
        batches: number of training batches in an epoch.
    """
    # Lightning would save the loader's position here; the data module does it.
    fit_loop["state_dict"].pop("combined_loader", None)
    fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
    epochs, progress = fit_loop["epoch_progress"], fit_loop["epoch_loop.batch_progress"]
    total, current = progress["total"], progress["current"]
    if current["ready"] > current["completed"]:  # a batch has been fetched and not begun
        total["ready"] -= 1
        current["ready"] -= 1
    else:  # training has ended, and the trainer counts an epoch as ended too
        over = current["completed"] >= batches
        for counts in epochs.values():
            counts["ready"] = counts["started"] = counts["processed"] + over
            counts["processed"] = counts["completed"] = counts["processed"] - (not over)
        if over:
            current |= dict.fromkeys(current, 0)
    total["completed"] -= 1
    current["completed"] -= 1
    progress["is_last_batch"] = False
