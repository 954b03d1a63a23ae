"""The losses of each epoch, kept in the checkpoint so that a resumed run remembers them."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class History(pl.Callback):
    """Collects a row per epoch.

    Attributes:
        epochs: dicts with ``epoch`` (from 1), ``step``, ``train/loss`` and, where it was measured, ``val/loss``.
        metrics: the newest value of all that was logged, as of the last epoch's end or validation.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.metrics: dict[str, float] = {}
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = not trainer.sanity_checking
        self._remember(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._remember(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        if "train/loss_epoch" in trainer.callback_metrics:
            row["train/loss"] = float(trainer.callback_metrics["train/loss_epoch"])
        if self._validated and "val/loss" in self.metrics:  # in the epoch, perhaps before the run was resumed
            row["val/loss"] = self.metrics["val/loss"]
        # With trainer.max_steps an epoch may end early, and be completed by a run that is trained on.
        self.epochs = [known for known in self.epochs if known["epoch"] != row["epoch"]] + [row]
        self._validated = self._validated and not trainer.is_last_batch
        self._remember(trainer)

    def _remember(self, trainer: pl.Trainer) -> None:
        self.metrics |= {name: float(value) for name, value in trainer.callback_metrics.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "metrics": self.metrics, "validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = [dict(row) for row in state_dict["epochs"]]
        self.metrics = dict(state_dict.get("metrics", {}))
        self._validated = bool(state_dict.get("validated"))
