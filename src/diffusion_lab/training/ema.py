"""An exponential moving average of the weights, with which the model is validated and draws."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

#: The average's key in a checkpoint: ``updates``, and ``weights`` by name.
KEY = "ema"


class EMA(pl.Callback):
    """Keeps the average of the weights over the optimizer steps.

    After step n (from 1), average ← d_n · average + (1 − d_n) · weights, with d_n = min(decay, (1 + n) / (10 + n)): the
    warm-up, so that the random weights of the start are soon forgotten (as in TensorFlow's ExponentialMovingAverage,
    and as Ho et al. 2020 train). Buffers are copied, not averaged. The average is in float32 at least, on the
    device of the weights.

    Validation and samples are those of the average. Training goes on with the weights themselves; a checkpoint
    holds both.

    Args:
        decay: the share of the old average that stays, once warmed up; from 0 up to, and without, 1.
        every_n_steps: how often the average is updated; n counts the updates.
    """

    def __init__(self, decay: float = 0.9999, every_n_steps: int = 1) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema.decay must be at least 0 and below 1, got {decay}")
        if every_n_steps < 1:
            raise ValueError(f"ema.every_n_steps must be at least 1, got {every_n_steps}")
        self.decay = decay
        self.every_n_steps = every_n_steps
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        self._step = 0
        self._swapped: dict[str, Tensor] | None = None

    def decay_at(self, update: int) -> float:
        """What stays of the average at the update numbered `update`, from 1."""
        return min(self.decay, (1 + update) / (10 + update))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step
        state = pl_module.state_dict()
        if not self.average:
            self.average = {name: _widened(value).clone() for name, value in state.items()}
        else:
            self.average = {name: value.to(state[name].device) for name, value in self.average.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._step:  # the batch is not complete yet
            return
        self._step = trainer.global_step
        if self._step % self.every_n_steps:
            return
        self.updates += 1
        averages, weights = [], []
        for name, weight in pl_module.named_parameters(remove_duplicate=False):  # all names that a state has
            averages.append(self.average[name])
            weights.append(_widened(weight.detach()))
        torch._foreach_lerp_(averages, weights, 1 - self.decay_at(self.updates))
        for name, buffer in pl_module.named_buffers(remove_duplicate=False):
            if name in self.average:  # a buffer that is not stored belongs to no state
                self.average[name].copy_(buffer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_in(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_out(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._swap_out(pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[KEY] = {"updates": self.updates, "weights": self.average}
        if self._swapped is not None:  # during a validation the module holds the average
            checkpoint["state_dict"] = self._swapped

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.updates = int(checkpoint[KEY]["updates"])
        self.average = dict(checkpoint[KEY]["weights"])

    # The values are swapped and not the tensors: a compiled network knows its weights by their place in memory.

    @torch.no_grad()
    def _swap_in(self, module: nn.Module) -> None:
        if self._swapped is None and self.average:
            state = module.state_dict()
            self._swapped = {name: value.clone() for name, value in state.items()}
            for name, value in state.items():
                value.copy_(self.average[name])

    @torch.no_grad()
    def _swap_out(self, module: nn.Module) -> None:
        if self._swapped is not None:
            for name, value in module.state_dict().items():
                value.copy_(self._swapped[name])
            self._swapped = None


@contextlib.contextmanager
def averaged(trainer: pl.Trainer, module: nn.Module) -> Iterator[None]:
    """While it lasts, `module` holds the average of its weights, if the trainer keeps one."""
    averages = [callback for callback in trainer.callbacks if isinstance(callback, EMA)]  # type: ignore[attr-defined]
    for average in averages:
        average._swap_in(module)
    try:
        yield
    finally:
        for average in averages:
            average._swap_out(module)


def _widened(value: Tensor) -> Tensor:
    """In float32, where it is narrower: an average of bfloat16 would stand still."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
