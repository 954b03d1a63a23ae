"""Work of rank 0 every few epochs, with the weights that samples are drawn with."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable

import pytorch_lightning as pl

from diffusion_lab.errors import RunInterrupted
from diffusion_lab.training.ema import averaged
from diffusion_lab.training.fsdp import whole_network
from diffusion_lab.training.graceful_interrupt import GracefulInterrupt


class EpochInterval(pl.Callback, ABC):
    """Calls `act` after every few epochs but the last one, whose work is that of the finished run.

    Args:
        every_n_epochs: how often; 0 for never.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs

    @abstractmethod
    def act(self, trainer: pl.Trainer, epoch: int, step: int) -> None:
        """Do the work, on rank 0 alone, after so many epochs and optimizer steps.

        It may be left by RunInterrupted where a stop is asked for: see `stop_if_requested`.
        """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        last = epoch == trainer.max_epochs or step == trainer.max_steps
        if not self.every_n_epochs or epoch % self.every_n_epochs or last:
            return
        with whole_network(trainer), averaged(trainer, pl_module):
            if trainer.is_global_zero:
                with contextlib.suppress(RunInterrupted):  # the interrupt's own hook saves and stops
                    self.act(trainer, epoch, step)


def stop_if_requested(trainer: pl.Trainer) -> Callable[[object], None]:
    """Return a function, to be called after each sampling step, that raises RunInterrupted on Ctrl-C."""
    interrupts = [c for c in trainer.callbacks if isinstance(c, GracefulInterrupt)]  # type: ignore[attr-defined]

    def check(step: object) -> None:
        if any(callback.requested for callback in interrupts):
            raise RunInterrupted

    return check
