"""The one LightningModule: it trains any network under any objective."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from diffusion_lab.codecs import Pixels
from diffusion_lab.data import Batch
from diffusion_lab.noise import Noise, derived_seed
from diffusion_lab.objectives import Simple
from diffusion_lab.parameterizations import Denoiser, Parameterization
from diffusion_lab.training.lr_schedule import LearningRateSchedule

_EPOCH_LOSS = "epoch_loss"  # in a checkpoint: the sum over the samples of the epoch, and how many there were


class DiffusionModule(pl.LightningModule):
    """Training of a diffusion model.

    Args:
        network: (x, c_noise, labels or None) → raw.
        parameterization: what raw means.
        codec: data ↔ the space that is diffused.
        objective: (denoiser, z0, noise, condition) → per-sample terms.
        optimizer: parameters → optimizer.
        lr_schedule: the factor of the learning rate at each step.
        seed: of the training noise.

    All noise is addressed by its place, (seed, epoch, batch, row in the global batch), so that it depends
    neither on the number of processes nor on anything that was drawn for logging or sampling.
    """

    def __init__(
        self,
        network: nn.Module,
        parameterization: Parameterization,
        codec: Pixels,
        objective: Simple,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        lr_schedule: LearningRateSchedule,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.denoiser = Denoiser(network, parameterization)
        self.codec = codec
        self.objective = objective
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule
        self.seed = seed
        self._step_loss = torch.zeros(())
        # Of the epoch, over all processes. Lightning's own mean would forget what was before a resume.
        self._epoch_loss = MeanMetric(nan_strategy="disable")
        self._cut_short: Tensor | None = None

    def setup(self, stage: str) -> None:
        if self.trainer.strategy.root_device.type != "mps":  # which has no float64
            self._epoch_loss.set_dtype(torch.float64)

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """The loss to descend, and what callbacks look at.

        Of each sample, ``sample_loss`` [b] and its time, ``t`` [b]; of the batch so far, ``step_loss``, whose mean
        over all processes is that of the global batch when its last part is done.
        """
        accumulated = self.trainer.accumulate_grad_batches
        parts = accumulated * self.trainer.world_size
        # For dropout and whatever else a network draws: it depends on the place alone, too.
        torch.manual_seed(self._place_seed(batch, batch_index % accumulated))
        loss, terms = self._loss(batch, parts, "train", batch.epoch, batch.index)
        # A step's loss is that of its whole batch, which the last of the accumulated parts completes.
        before = batch_index % accumulated
        self._step_loss = loss.detach() + (self._step_loss if before else 0)
        step_loss = self._step_loss / (before + 1)
        self.log("train/loss_step", step_loss, batch_size=batch.size, sync_dist=True)
        self._epoch_loss.update(terms["loss"].detach())
        self.log("train/loss_epoch", self._epoch_loss, on_step=False, on_epoch=True, batch_size=batch.size)
        return {"loss": loss, "sample_loss": terms["loss"].detach(), "t": terms["t"], "step_loss": step_loss}

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        # The noise of each image is the same at every validation, so that the loss compares weights.
        loss, _ = self._loss(batch, self.trainer.world_size, "validation")
        self.log("val/loss", loss, on_epoch=True, batch_size=batch.size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.lr_schedule.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_end(self) -> None:
        # With trainer.max_steps an epoch may end early, and be completed by a run that is trained on.
        self._cut_short = None if self.trainer.is_last_batch else self._epoch_total()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        total = self._epoch_total() if self._cut_short is None else self._cut_short
        if self.trainer.world_size > 1:
            total = self.trainer.strategy.reduce(total.clone(), reduce_op="sum")
        checkpoint[_EPOCH_LOSS] = total.tolist()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # One process goes on with the sums of all.
        total = checkpoint.get(_EPOCH_LOSS, (0.0, 0.0)) if self.trainer.is_global_zero else (0.0, 0.0)
        for name, value in zip(self._epoch_loss.metric_state, total, strict=True):
            state = getattr(self._epoch_loss, name)
            setattr(self._epoch_loss, name, torch.tensor(value, dtype=state.dtype, device=state.device))

    def _epoch_total(self) -> Tensor:
        """[2]: the sum of this process's losses in the epoch so far, and how many there were."""
        return torch.stack([getattr(self._epoch_loss, name) for name in self._epoch_loss.metric_state])

    def _place_seed(self, batch: Batch, part: int) -> int:
        place = (batch.epoch, batch.index, self.trainer.global_rank, part)
        return derived_seed(self.seed, "network", *place) >> 1

    def _loss(self, batch: Batch, parts: int, *place: str | int) -> tuple[Tensor, dict[str, Tensor]]:
        """The share of one part in the global batch's mean loss, times the number of parts; the per-sample terms.

        The trainer averages over micro-batches and processes, gradients as well as logged values: scaled like
        this, that average is the mean over the global batch even where the parts differ in size.
        """
        noise = Noise(batch.row, self.seed, *place)
        terms = self.objective(self.denoiser, self.codec.encode(batch.x), noise)
        return terms["loss"].sum() * (parts / batch.size), terms
