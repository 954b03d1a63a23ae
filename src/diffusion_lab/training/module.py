"""The one LightningModule: it trains any network under any objective."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from diffusion_lab.codecs import Pixels
from diffusion_lab.data import Batch
from diffusion_lab.noise import Noise
from diffusion_lab.objectives import Simple
from diffusion_lab.parameterizations import Denoiser, Parameterization
from diffusion_lab.training.lr_schedule import LearningRateSchedule


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

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """The loss to descend, and of each sample its own, ``sample_loss`` [b], and its time, ``t`` [b]."""
        accumulated = self.trainer.accumulate_grad_batches
        parts = accumulated * self.trainer.world_size
        loss, terms = self._loss(batch, parts, "train", batch.epoch, batch.index)
        # A step's loss is that of its whole batch, which the last of the accumulated parts completes.
        before = batch_index % accumulated
        self._step_loss = loss.detach() + (self._step_loss if before else 0)
        self.log("train/loss_step", self._step_loss / (before + 1), batch_size=batch.size, sync_dist=True)
        self.log("train/loss_epoch", loss.detach(), on_step=False, on_epoch=True, batch_size=batch.size, sync_dist=True)
        return {"loss": loss, "sample_loss": terms["loss"].detach(), "t": terms["t"]}

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        # The noise of each image is the same at every validation, so that the loss compares weights.
        loss, _ = self._loss(batch, self.trainer.world_size, "validation")
        self.log("val/loss", loss, on_epoch=True, batch_size=batch.size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.lr_schedule.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _loss(self, batch: Batch, parts: int, *place: str | int) -> tuple[Tensor, dict[str, Tensor]]:
        """The share of one part in the global batch's mean loss, times the number of parts; the per-sample terms.

        The trainer averages over micro-batches and processes, gradients as well as logged values: scaled like
        this, that average is the mean over the global batch even where the parts differ in size.
        """
        noise = Noise(batch.row, self.seed, *place)
        terms = self.objective(self.denoiser, self.codec.encode(batch.x), noise)
        return terms["loss"].sum() * (parts / batch.size), terms
