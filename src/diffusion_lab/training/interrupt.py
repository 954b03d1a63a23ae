"""Ctrl-C ends a run between two steps, with a checkpoint."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed

from diffusion_lab.errors import RunInterrupted
from diffusion_lab.training.checkpoints import Checkpoints

#: A signal that follows so soon is the same keypress: torchrun passes on what the terminal has sent already.
_SAME_KEYPRESS_SECONDS = 0.5


class GracefulInterrupt(pl.Callback):
    """On the first Ctrl-C, finishes the step under way, saves and stops; on the second, stops at once.

    A stop between steps leaves a state that training can go on from exactly. All processes of a run stop after
    the same step, whichever of them were sent the signal.
    """

    def __init__(self) -> None:
        self.requested = False
        self._requested_at = 0.0
        self._saved = False
        self._previous: Any = None
        self._vote: _Vote | None = None
        self._speaks = True

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._vote = _Vote() if trainer.world_size > 1 else None
        self._speaks = trainer.is_global_zero
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

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Between the parts of an accumulated batch the gradients of the first ones would be lost. After the last
        # batch of an epoch comes its validation, and then the epoch's end.
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch:
            self._save_if(self._stop(), trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save_if(self._stop(now=True), trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if_saved()

    def on_train_batch_start(self, *_: Any) -> None:
        self._stop_if_saved()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if_saved()

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested:
            if now - self._requested_at < _SAME_KEYPRESS_SECONDS:
                return
            raise KeyboardInterrupt
        self.requested, self._requested_at = True, now
        if self._speaks:
            print("\nStopping after this step; Ctrl-C again stops at once.", file=sys.stderr, flush=True)

    def _stop(self, now: bool = False) -> bool:
        return self.requested if self._vote is None else self._vote.cast(self.requested, now)

    def _save_if(self, stop: bool, trainer: pl.Trainer) -> None:
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


class _Vote:
    """All processes learn whether any of them was asked to stop.

    The answer to a vote is read at the next one, and the messages go from CPU to CPU: no step waits for them,
    and no GPU.
    """

    def __init__(self) -> None:
        self._group: Any = distributed.new_group(backend="gloo")
        self._pending: tuple[Tensor, Any] | None = None

    def cast(self, stop: bool, now: bool) -> bool:
        """Vote, and return the outcome of the vote before this one; with `now`, of this one, too."""
        outcome = self._outcome()
        if not outcome:
            ballot = torch.tensor(int(stop))
            self._pending = ballot, distributed.all_reduce(ballot, distributed.ReduceOp.MAX, self._group, async_op=True)
            if now:
                outcome = self._outcome()
        return outcome

    def _outcome(self) -> bool:
        if self._pending is None:
            return False
        (ballot, work), self._pending = self._pending, None
        work.wait()
        return bool(ballot)
