"""File with the loss of every optimizer step, which shows at which step two runs begin to differ."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from diffusion_lab.errors import LabError
from diffusion_lab.machine.bounded_read import open_bounded, read_bounded

FILE = "step_losses.f32"

_BUFFERED = 1024  # number of steps in the buffer on the device

_UNKNOWN = np.array(np.nan, "<f4").tobytes()


def read_step_losses(run_dir: str | Path) -> np.ndarray:
    """Return [steps] float32: the loss of the global batch of each optimizer step; empty if there is no file.

    Steps whose loss is not known are NaN. An incomplete last number is left out.
    """
    path = Path(run_dir) / FILE
    try:
        content = read_bounded(path)
    except FileNotFoundError:
        content = b""
    return np.frombuffer(content[: len(content) // 4 * 4], dtype="<f4")


class LossLedger(pl.Callback):
    """Writes the loss of every step to ``step_losses.f32`` in the run folder, as little-endian float32.

    The losses are buffered on the device and written when a checkpoint is saved, when the buffer is full and when
    training ends, so that no step waits for them. A resumed run writes on from the step that it resumes from.
    """

    def __init__(self) -> None:
        self._first = 0  # the step of the first buffered loss
        self._count = 0
        self._buffer: Tensor | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first, self._count = trainer.global_step, 0
        self._buffer = torch.empty(_BUFFERED, device=pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert self._buffer is not None
        if trainer.global_step == self._first + self._count:  # gradients are still being accumulated
            return
        self._buffer[self._count] = outputs["step_loss"]
        self._count += 1
        if self._count == _BUFFERED:
            self.flush(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.flush(trainer)

    def flush(self, trainer: pl.Trainer) -> None:
        """Write the buffered losses. All processes must call it."""
        if self._buffer is None or not self._count:
            return
        losses = self._buffer[: self._count]
        if trainer.world_size > 1:  # each is scaled so that their mean is the loss of the global batch
            losses = trainer.strategy.reduce(losses.clone(), reduce_op="mean")
        if trainer.is_global_zero:
            try:
                write_step_losses(Path(trainer.default_root_dir), self._first, losses.cpu().numpy())
            except OSError as error:
                raise LabError(f"cannot write {trainer.default_root_dir}/{FILE}: {error.strerror}") from error
        self._first, self._count = self._first + self._count, 0


def write_step_losses(run_dir: Path, first: int, losses: np.ndarray) -> None:
    """Write the losses of the steps from `first` on, in place of all from there on; steps without one become NaN."""
    path = run_dir / FILE
    with open_bounded(path, "r+b") if os.path.lexists(path) else path.open("xb") as file:
        known = file.seek(0, os.SEEK_END) // 4
        file.seek(4 * known)  # over the beginning of a number, if a process was killed there
        file.write(_UNKNOWN * (first - known))  # before the file is longer, since it would be filled with zeros
        file.seek(4 * first)
        file.truncate()
        file.write(losses.astype("<f4").tobytes())
        file.flush()
        os.fsync(file.fileno())
