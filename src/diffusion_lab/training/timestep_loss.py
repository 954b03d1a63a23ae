"""Where on the time axis the training loss is made."""

from __future__ import annotations

import itertools
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from diffusion_lab.parameterizations import block_size

_STATE = "timestep_loss"  # in a checkpoint


class TimestepLoss(pl.Callback):
    """Logs at each epoch's end the mean loss of the epoch's samples in each part of the time axis, by their weights.

    The parts are `buckets` equal ones of (0, 1], each with its upper end; 0 is in the first. They are logged as
    ``train/loss_by_t/0.00-0.25`` and so on; a part that no sample fell into is left out. The sums stay on the
    device until the epoch ends, include all processes, and are kept in checkpoints. Of a network that sees blocks
    nothing is logged: the blocks of each sample have times from all parts.

    Args:
        buckets: how many parts, at most 1,000.
    """

    def __init__(self, buckets: int = 4) -> None:
        if not 1 <= buckets <= 1000:
            raise ValueError(f"callbacks.timestep_loss.buckets must be from 1 to 1,000, got {buckets}")
        self.buckets = buckets
        self._sums: Tensor | None = (
            None  # [2, buckets] float64, on Apple's GPUs float32: of the weighted losses, and of their weights
        )

    @property
    def names(self) -> list[str]:
        """The name under which each part is logged."""
        edges = [k / self.buckets for k in range(self.buckets + 1)]
        digits = next((n for n in (1, 2) if all(round(e, n) == e for e in edges)), 3)
        bounds = [f"{edge:.{digits}f}" for edge in edges]
        return [f"train/loss_by_t/{low}-{high}" for low, high in itertools.pairwise(bounds)]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if block_size(getattr(pl_module, "network", None)) is not None:
            return
        loss, t = outputs["terms"]["loss"], outputs["t"]
        weight = outputs["weight"].to(loss)
        if self._sums is None or self._sums.device != loss.device:
            old = torch.zeros(2, self.buckets, dtype=torch.float64) if self._sums is None else self._sums
            self._sums = old.to(loss.device, torch.float32 if loss.device.type == "mps" else torch.float64)
        # The small number puts grid times that were rounded up where they belong.
        bucket = (t * self.buckets - 1e-6).ceil_().sub_(1).clamp_(0, self.buckets - 1).long()
        self._sums.index_add_(1, bucket, torch.stack((loss * weight, weight)).to(self._sums))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name, total, count in zip(self.names, *self._total(trainer), strict=True):
            if count:
                # Every process has the total: with `rank_zero_only`, there is nothing left to reduce.
                pl_module.log(name, total / count, on_epoch=True, batch_size=1, sync_dist=True, rank_zero_only=True)
        # With trainer.max_steps an epoch may end early, and be completed by a run that is trained on.
        if trainer.is_last_batch:
            self._sums = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[_STATE] = self._total(trainer)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if _STATE in checkpoint:  # one process goes on with the sums of all, and the others have sums, too, to add
            sums = torch.tensor(checkpoint[_STATE], dtype=torch.float64)
            self._sums = sums if trainer.is_global_zero else torch.zeros_like(sums)

    def _total(self, trainer: pl.Trainer) -> list[list[float]]:
        """The sums over all processes."""
        if self._sums is None:
            return [[0.0] * self.buckets] * 2
        return trainer.strategy.reduce(self._sums.clone(), reduce_op="sum").tolist()
