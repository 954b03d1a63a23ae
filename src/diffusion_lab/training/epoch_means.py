"""The mean of each term of the objective over an epoch, which a resumed run goes on with."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import MeanMetric

_STATE = "epoch_means"  # in a checkpoint: by term, the sum over the samples of the epoch, and how many there were


class EpochMeans(pl.Callback):
    """Logs ``train/<term>_epoch``: the weighted mean over the samples of an epoch, of all processes.

    Lightning's own mean would forget what was before a resume. It must come before the callbacks that read the value.
    """

    def __init__(self) -> None:
        self._means: dict[str, MeanMetric] = {}
        self._cut_short: dict[str, Tensor] | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for name, values in outputs["terms"].items():
            mean = self._mean(name, pl_module.device)
            mean.update(values * outputs["weight"].to(values))
            key = f"train/{name}_epoch"
            pl_module.log(
                key, mean, on_step=False, on_epoch=True, batch_size=batch.size, metric_attribute=f"{key}_mean"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # With trainer.max_steps an epoch may end early, and be completed by a run that is trained on.
        self._cut_short = None if trainer.is_last_batch else self._totals()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        totals = self._totals() if self._cut_short is None else self._cut_short
        if trainer.world_size > 1:
            totals = {name: trainer.strategy.reduce(total.clone(), reduce_op="sum") for name, total in totals.items()}
        checkpoint[_STATE] = {name: total.tolist() for name, total in totals.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        for name, total in checkpoint.get(_STATE, {}).items():
            mean = self._mean(name, pl_module.device)
            # One process goes on with the sums of all.
            for state, value in zip(mean.metric_state, total if trainer.is_global_zero else (0.0, 0.0), strict=True):
                there = getattr(mean, state)
                setattr(mean, state, torch.tensor(value, dtype=there.dtype, device=there.device))

    def _mean(self, name: str, device: torch.device) -> MeanMetric:
        if name not in self._means:
            self._means[name] = MeanMetric(nan_strategy="disable")
        mean = self._means[name]
        if mean.device != device:
            mean.to(device)
        # A metric that was moved, by the trainer as well, adds up in single precision. Apple's GPUs have no float64.
        if mean.dtype != torch.float64 and device.type != "mps":
            mean.set_dtype(torch.float64)
        return mean

    def _totals(self) -> dict[str, Tensor]:
        """Return [2] for each term: the sum of this process's values in the epoch so far, and how many there were."""
        return {
            name: torch.stack([getattr(mean, state) for state in mean.metric_state])
            for name, mean in self._means.items()
        }
