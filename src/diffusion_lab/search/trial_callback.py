"""A Lightning callback that reports the losses of a trial's run to Optuna, and ends the run if it is to be pruned."""

from __future__ import annotations

from typing import Any

import optuna
import pytorch_lightning as pl

from diffusion_lab.errors import RunPruned
from diffusion_lab.search.trial_attributes import PARAMETERS, RUN_FOLDER, VALIDATED_AT
from diffusion_lab.training.checkpoints import Checkpoints


class TrialCallback(pl.Callback):
    """Records a trial's run folder in the storage, reports its loss after each validation, and prunes it.

    A run that is to be pruned ends at the start of its next step. A run of one process saves a checkpoint before, and
    can be resumed like any other. Losses are reported by the number of validations so far, not by the training step:
    trials with different batch sizes validate at different steps.

    Args:
        trial: Optuna's trial.
        metric: the name of the reported loss in `trainer.callback_metrics`; None to report nothing.
        prune: whether to prune the run when Optuna's pruner says so.
    """

    def __init__(self, trial: optuna.Trial, metric: str | None, prune: bool) -> None:
        self.trial = trial
        self.metric = metric
        self.prune = prune
        self._pruned = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.trial.set_user_attr(RUN_FOLDER, trainer.default_root_dir)
        self.trial.set_user_attr(PARAMETERS, sum(p.numel() for p in pl_module.parameters()))
        self._ask_pruner()  # a resumed run may have been reported as hopeless before it stopped

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or self.metric is None or self.metric not in trainer.callback_metrics:
            return
        steps: list[int] = self.trial.user_attrs.get(VALIDATED_AT, [])
        if trainer.global_step not in steps:  # else a resumed run repeats a validation that was reported before
            self.trial.set_user_attr(VALIDATED_AT, [*steps, trainer.global_step])
            self.trial.report(float(trainer.callback_metrics[self.metric]), len(steps) + 1)
        self._ask_pruner()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._pruned or batch_idx % trainer.accumulate_grad_batches:
            return
        for callback in trainer.checkpoint_callbacks:
            # With several processes all have to save, and only this one knows that the run is pruned.
            if isinstance(callback, Checkpoints) and trainer.world_size == 1:
                callback.save_last(trainer)
        raise RunPruned(f"pruned after step {trainer.global_step}: other trials did better by then")

    def _ask_pruner(self) -> None:
        self._pruned = self.prune and bool(self.trial.user_attrs.get(VALIDATED_AT)) and self.trial.should_prune()
