"""The losses of each epoch, stored in checkpoints, so that a resumed run still has them."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class History(pl.Callback):
    """Collects a row per epoch.

    Attributes:
        epochs: dicts with ``epoch`` (from 1), ``step``, ``train/loss`` and, where it was measured, ``val/loss``.
        metrics: the newest value of every logged metric, at the last end of an epoch or validation.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.metrics: dict[str, float] = {}
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = not trainer.sanity_checking
        self._update_metrics(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._update_metrics(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        if "train/loss_epoch" in trainer.callback_metrics:
            row["train/loss"] = float(trainer.callback_metrics["train/loss_epoch"])
        if self._validated and "val/loss" in self.metrics:  # in this epoch, perhaps before the run was resumed
            row["val/loss"] = self.metrics["val/loss"]
        # With trainer.max_steps an epoch may end early; training the run further completes it.
        self.epochs = [known for known in self.epochs if known["epoch"] != row["epoch"]] + [row]
        self._validated = self._validated and not trainer.is_last_batch
        self._update_metrics(trainer)

    def _update_metrics(self, trainer: pl.Trainer) -> None:
        self.metrics |= {name: float(value) for name, value in trainer.callback_metrics.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "metrics": self.metrics, "validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = [dict(row) for row in state_dict["epochs"]]
        self.metrics = dict(state_dict.get("metrics", {}))
        self._validated = bool(state_dict.get("validated"))
