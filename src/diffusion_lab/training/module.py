"""The one LightningModule: it trains any network under any objective."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from diffusion_lab.codecs import Codec
from diffusion_lab.data import Batch
from diffusion_lab.noise import Noise, derived_seed
from diffusion_lab.objectives import Objective, TimeSampler
from diffusion_lab.parameterizations import Denoiser, Parameterization, condition_kind
from diffusion_lab.training.lr_schedule import LearningRateSchedule

#: Key of what the time sampling has learned in a checkpoint: tensors by name; left out if it learns nothing.
TIME_SAMPLING_KEY = "time_sampling"


class DiffusionModule(pl.LightningModule):
    """Training of a diffusion model.

    Args:
        network: (x, c_noise, condition or None) → raw.
        parameterization: what raw means.
        codec: data ↔ the space that is diffused.
        objective: (denoiser, z0, t, noise, condition) → per-sample terms.
        time_sampling: draws the times, and may weight the terms and learn from the losses.
        optimizer: parameters → optimizer.
        lr_schedule: the factor of the learning rate at each step.
        seed: of the training noise.
        num_classes: how many labels the data has; None for data without labels.

    All noise is addressed by its place, (seed, epoch, batch, row in the global batch), so that it depends
    neither on the number of processes nor on anything that was drawn for logging or sampling.
    """

    def __init__(
        self,
        network: nn.Module,
        parameterization: Parameterization,
        codec: Codec,
        objective: Objective,
        time_sampling: TimeSampler,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        lr_schedule: LearningRateSchedule,
        seed: int,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.denoiser = Denoiser(network, parameterization)
        self.codec = codec
        self.objective = objective
        self.time_sampling = time_sampling
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule
        self.seed = seed
        self.num_classes = num_classes
        self._step_terms: dict[str, Tensor] = {}
        self._sample_losses = torch.empty(0)

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        """Return the loss to descend, and what callbacks look at.

        ``terms`` holds the objective's terms [b] of each sample, ``t`` [b] their times and ``weight`` [b] their
        weights, with which they are averaged for the gradient and for the logs: the means are those that uniform times
        would have, unless the distribution of times is an aim of its own. ``step_loss`` is the loss of the batch so
        far, whose mean over all processes is that of the global batch when its last part is done.
        """
        accumulated = self.trainer.accumulate_grad_batches
        before = batch_index % accumulated
        # For dropout and whatever else a network draws: it depends on the place alone, too.
        torch.manual_seed(self._place_seed(batch, before))
        noise = Noise(batch.row, self.seed, "train", batch.epoch, batch.index)
        t = self.time_sampling(noise.at("time"))
        terms = self.objective(self.denoiser, self.codec.encode(batch.x), t, noise, self._condition(batch, noise))
        weight = self.time_sampling.weight(t)
        weighted = {name: value * weight.to(value) for name, value in terms.items()}
        means = self._means(weighted, batch, accumulated * self.trainer.world_size)
        # A step's terms are those of its whole batch, which the last of the accumulated parts completes.
        earlier = self._step_terms if before else {}
        self._step_terms = {name: mean.detach() + earlier.get(name, 0) for name, mean in means.items()}
        of_step = {name: total / (before + 1) for name, total in self._step_terms.items()}
        for name, value in of_step.items():
            self.log(f"train/{name}_step", value, batch_size=batch.size, sync_dist=True)
        detached = {name: value.detach() for name, value in terms.items()}
        return {"loss": means["loss"], "terms": detached, "t": t, "weight": weight, "step_loss": of_step["loss"]}

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        """Let the time sampling learn from a global batch, of all processes and accumulated parts."""
        if not self.time_sampling.learns:
            return
        part = batch_index % self.trainer.accumulate_grad_batches
        t, loss = outputs["t"], outputs["terms"]["loss"].to(outputs["t"])
        if part == 0:
            self._sample_losses = t.new_zeros(2, batch.size)
        self._sample_losses[:, batch.row] = torch.stack((t, loss))
        # A batch that an epoch cut short, by trainer.limit_train_batches, is not complete.
        if part + 1 == self.trainer.accumulate_grad_batches:
            # Each row is 0 in all processes but one: the sum is what that one has.
            self.time_sampling.update(*self.trainer.strategy.reduce(self._sample_losses, reduce_op="sum"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if state := self.time_sampling.state_dict():
            checkpoint[TIME_SAMPLING_KEY] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.time_sampling.load_state_dict(checkpoint.get(TIME_SAMPLING_KEY, {}))

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        # The noise of each sample is the same at every validation, so that the loss compares weights.
        noise = Noise(batch.row, self.seed, "validation")
        t = self.time_sampling.in_validation(noise.at("time"))
        terms = self.objective(self.denoiser, self.codec.encode(batch.x), t, noise, self._condition(batch))
        for name, mean in self._means(terms, batch, self.trainer.world_size).items():
            self.log(f"val/{name}", mean, on_epoch=True, batch_size=batch.size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.lr_schedule.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _condition(self, batch: Batch, noise: Noise | None = None) -> Tensor | None:
        """Return the labels [b] for a network that takes them, with some dropped while training (given `noise`)."""
        network: Any = self.network
        if condition_kind(network) != "label":
            return None
        label, dropout = batch.label, network.condition_dropout
        if label is not None and noise is not None and dropout:
            dropped = noise.at("condition").uniform() < dropout
            label = torch.where(dropped, self.num_classes, label)  # type: ignore[arg-type]
        return label

    def _place_seed(self, batch: Batch, part: int) -> int:
        place = (batch.epoch, batch.index, self.trainer.global_rank, part)
        return derived_seed(self.seed, "network", *place) >> 1

    def _means(self, terms: dict[str, Tensor], batch: Batch, parts: int) -> dict[str, Tensor]:
        """Return the share of one part in the global batch's mean of each term, times `parts`.

        The trainer averages over micro-batches and processes, gradients as well as logged values: scaled like
        this, that average is the mean over the global batch even where the parts differ in size.
        """
        return {name: value.sum() * (parts / batch.size) for name, value in terms.items()}
