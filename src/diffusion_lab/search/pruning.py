"""A trial's run, watched: its losses are told to the storage, and where they are hopeless the run ends."""

from __future__ import annotations

from typing import Any

import optuna
import pytorch_lightning as pl

from diffusion_lab.errors import RunPruned
from diffusion_lab.search.study import PARAMETERS, RUN_FOLDER, VALIDATED_AT
from diffusion_lab.training.checkpoints import Checkpoints


class Watch(pl.Callback):
    """Tells the storage where a trial's run lies and, after each validation, its loss.

    A run that is to be pruned ends at the start of its next step, with a checkpoint where it is one process; it may
    be resumed as any other. Losses are counted by validations, which trials have in common also where batches of
    other sizes make other steps.

    Args:
        trial: Optuna's.
        metric: the trainer's name of the loss that is told; None for none.
        prune: whether to ask if the run should end.
    """

    def __init__(self, trial: optuna.Trial, metric: str | None, prune: bool) -> None:
        self.trial = trial
        self.metric = metric
        self.prune = prune
        self._hopeless = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.trial.set_user_attr(RUN_FOLDER, trainer.default_root_dir)
        network: Any = pl_module.network
        self.trial.set_user_attr(PARAMETERS, sum(p.numel() for p in network.parameters()))
        self._judge()  # of a run that is taken up, what it had told before may be enough

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or self.metric is None or self.metric not in trainer.callback_metrics:
            return
        steps: list[int] = self.trial.user_attrs.get(VALIDATED_AT, [])
        if trainer.global_step not in steps:  # else a run that was taken up has come here once more
            self.trial.set_user_attr(VALIDATED_AT, [*steps, trainer.global_step])
            self.trial.report(float(trainer.callback_metrics[self.metric]), len(steps) + 1)
        self._judge()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._hopeless or batch_idx % trainer.accumulate_grad_batches:
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, Checkpoints) and trainer.world_size == 1:  # the others know nothing of it
                callback.save_last(trainer)
        raise RunPruned(f"pruned after step {trainer.global_step}: other trials did better by then")

    def _judge(self) -> None:
        self._hopeless = self.prune and bool(self.trial.user_attrs.get(VALIDATED_AT)) and self.trial.should_prune()
