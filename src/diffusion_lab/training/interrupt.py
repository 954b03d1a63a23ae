"""Ctrl-C ends a run between two steps, with a checkpoint."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from diffusion_lab.errors import RunInterrupted
from diffusion_lab.training.checkpoints import Checkpoints


class GracefulInterrupt(pl.Callback):
    """On the first Ctrl-C, finishes the step under way, saves and stops; on the second, stops at once.

    A stop between steps leaves a state that training can go on from exactly; all processes of a run agree on
    the step.
    """

    def __init__(self) -> None:
        self.requested = False
        self._saved = False
        self._previous: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        try:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        except ValueError:  # not the main thread: its owner decides about signals
            self._previous = None

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    # The state is saved at the end of a step or epoch, and the run stopped at the start of the next one:
    # in between, the trainer writes the log of what was done.

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # After the last batch of an epoch comes its validation, and then the epoch's end.
        if not trainer.is_last_batch:
            self._save_if_requested(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save_if_requested(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if_saved()

    def on_train_batch_start(self, *_: Any) -> None:
        self._stop_if_saved()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if_saved()

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nStopping after this step; Ctrl-C again stops at once.", file=sys.stderr, flush=True)

    def _save_if_requested(self, trainer: pl.Trainer) -> None:
        stop = self.requested
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if not stop:
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, Checkpoints):
                callback.save_last(trainer)
        self._saved = True

    def _stop_if_saved(self) -> None:
        if self._saved:
            raise RunInterrupted

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
