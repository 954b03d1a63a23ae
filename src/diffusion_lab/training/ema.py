"""Exponential moving average (EMA) of the weights, which is used for validation and sampling."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

#: Key of the average in a checkpoint: a dict of ``updates``, a number, and ``weights``, tensors by name.
KEY = "ema"


class EMA(pl.Callback):
    """Keeps an exponential moving average of the weights over the optimizer steps.

    Update n (from 1) is average ← d_n · average + (1 − d_n) · weights, with d_n = min(decay, (1 + n) / (10 + n)). This
    warm-up soon forgets the random initial weights (as in TensorFlow's ExponentialMovingAverage, with which Ho et al.
    2020 train). Buffers are copied, not averaged. The average is on the device of the weights, in float32 or wider.

    Validation and sampling use the average, training the weights themselves; a checkpoint holds both.

    Args:
        decay: the largest share of the old average that an update keeps, in [0, 1).
        every_n_steps: number of optimizer steps between two updates.
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
        """Return the share of the old average that the update numbered `update` (from 1) keeps."""
        return min(self.decay, (1 + update) / (10 + update))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step
        state = pl_module.state_dict()
        if not self.average:
            self.average = {name: _at_least_float32(value).clone() for name, value in state.items()}
        else:
            self.average = {name: value.to(state[name].device) for name, value in self.average.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._step:  # gradients are still being accumulated
            return
        self._step = trainer.global_step
        if self._step % self.every_n_steps:
            return
        self.updates += 1
        averages, weights = [], []
        for name, weight in pl_module.named_parameters(remove_duplicate=False):  # all names in a state_dict
            averages.append(self.average[name])
            weights.append(_at_least_float32(weight.detach()))
        torch._foreach_lerp_(averages, weights, 1 - self.decay_at(self.updates))
        for name, buffer in pl_module.named_buffers(remove_duplicate=False):
            if name in self.average:  # buffers that are not persistent are not in a state_dict
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
        if self._swapped is not None:  # during validation the module holds the average
            checkpoint["state_dict"] = self._swapped

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.updates = int(checkpoint[KEY]["updates"])
        self.average = dict(checkpoint[KEY]["weights"])

    # Values are copied and tensors stay: a compiled network refers to its weights by their address in memory.

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
    """Let `module` hold the average of its weights in the block, if the trainer keeps one."""
    averages = [callback for callback in trainer.callbacks if isinstance(callback, EMA)]  # type: ignore[attr-defined]
    for average in averages:
        average._swap_in(module)
    try:
        yield
    finally:
        for average in averages:
            average._swap_out(module)


def _at_least_float32(value: Tensor) -> Tensor:
    """Convert float16 and bfloat16 to float32: an average in these would lose small changes and stand still."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
