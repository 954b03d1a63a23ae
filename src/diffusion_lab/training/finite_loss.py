"""Stop a run whose training loss is not finite, before its weights replace good ones in a checkpoint."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from diffusion_lab.errors import LabError


class FiniteLoss(pl.Callback):
    """Raises an error if the training loss is NaN or infinite.

    On the CPU every step is checked. On a GPU a check would make the CPU wait, so the first bad step is recorded on
    the device, and read every `every_n_steps` steps and before a checkpoint is written. All processes of a run check
    at the same time, and stop together.

    The loss is not scaled: with `trainer.precision=16-mixed`, the gradient scaler skips steps whose gradients
    overflow, and these do not stop the run.

    Args:
        every_n_steps: number of steps between two checks on a GPU.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ValueError(f"callbacks.finite_loss.every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._first_bad: Tensor | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"]
        if self._first_bad is None:
            self._first_bad = torch.full((), -1, dtype=torch.long, device=loss.device)
        bad = ~torch.isfinite(loss) & (self._first_bad < 0)
        self._first_bad = torch.where(bad, trainer.global_step, self._first_bad)
        if loss.device.type == "cpu" or trainer.global_step % self.every_n_steps == 0:
            self.check(trainer)

    def check(self, trainer: pl.Trainer) -> None:
        """Raise LabError if a loss was not finite. All processes must call it."""
        if self._first_bad is None:
            return
        first_bad = self._first_bad
        if trainer.world_size > 1:
            first_bad = trainer.strategy.reduce(first_bad.clone(), reduce_op="max")
        step = int(first_bad)
        if step < 0:
            return
        half = trainer.precision == "16-mixed"
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        last = f"{trainer.default_root_dir}/checkpoints/last.ckpt"
        raise LabError(
            f"the training loss was not a finite number at step {step}, with the learning rate {rate:.3g}; "
            f"the last good checkpoint, if there is one, is {last}. Try a smaller optimizer.lr, a warm-up "
            "(lr_schedule=warmup_cosine) or trainer.gradient_clip_val=1"
            + half
            * " or, since values above 65504 overflow in half precision, trainer.precision=bf16-mixed"
        )
