"""Averages of the weights, which are used for validation and sampling; the exponential moving average (EMA)."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from diffusion_lab.errors import LabError

#: Key of the averages in a checkpoint: see `WeightAverages.content`.
KEY = "ema"


class WeightAverages(pl.Callback, ABC):
    """Keeps averages of the weights over the optimizer steps, each under a key.

    Update n (from 1) of each is average ← d_n · average + (1 − d_n) · weights. Buffers are copied, not averaged. The
    averages are on the device of the weights, in float32 or wider.

    Validation and sampling use the first of them, training the weights themselves; a checkpoint holds all.

    Args:
        keys: the keys of the averages.
        every_n_steps: number of optimizer steps between two updates.

    Attributes:
        updates: how many there have been.
        averages: the tensors of each average by name, by key; empty before training.
    """

    def __init__(self, keys: Sequence[str], every_n_steps: int) -> None:
        if every_n_steps < 1:
            raise ValueError(f"ema.every_n_steps must be at least 1, got {every_n_steps}")
        self.keys = list(keys)
        self.every_n_steps = every_n_steps
        self.updates = 0
        self.averages: dict[str, dict[str, Tensor]] = {}
        self._step = 0
        self._swapped: dict[str, Tensor] | None = None

    @abstractmethod
    def decays_at(self, update: int) -> Sequence[float]:
        """Return for each key the share d_n of the old average that the update numbered n = `update` keeps."""

    @property
    def average(self) -> dict[str, Tensor]:
        """The average that validation and sampling use."""
        return self.averages.get(self.keys[0], {})

    def named_tensors(self) -> dict[str, Tensor]:
        """Return all averages as one mapping: the first by the names of the weights, others with their keys before."""
        first, *others = self.keys
        more = {f"{key}/{name}": value for key in others for name, value in self.averages[key].items()}
        return {**self.averages[first], **more}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step
        state = pl_module.state_dict()
        for key in self.keys:
            known = self.averages.get(key)
            if known is None:
                self.averages[key] = {name: _at_least_float32(value).clone() for name, value in state.items()}
            else:
                self.averages[key] = {name: value.to(state[name].device) for name, value in known.items()}

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
        names, weights = [], []
        for name, weight in pl_module.named_parameters(remove_duplicate=False):  # all names in a state_dict
            names.append(name)
            weights.append(_at_least_float32(weight.detach()))
        for key, decay in zip(self.keys, self.decays_at(self.updates), strict=True):
            average = self.averages[key]
            torch._foreach_lerp_([average[name] for name in names], weights, 1 - decay)
            for name, buffer in pl_module.named_buffers(remove_duplicate=False):
                if name in average:  # buffers that are not persistent are not in a state_dict
                    average[name].copy_(buffer)

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds: ``updates``, and the averages, of which ``weights`` is the first."""
        first, *others = self.keys
        return {
            "updates": self.updates,
            "key": first,
            "weights": self.averages[first],
            "others": {key: self.averages[key] for key in others},
        }

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_in(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_out(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._swap_out(pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[KEY] = self.content()
        if self._swapped is not None:  # during validation the module holds the average
            checkpoint["state_dict"] = self._swapped

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.updates = int(checkpoint[KEY]["updates"])
        stored = {self.keys[0]: checkpoint[KEY]["weights"], **checkpoint[KEY].get("others", {})}
        if stored.keys() != set(self.keys):
            raise LabError(f"the checkpoint has the averages {', '.join(stored)}, and not {', '.join(self.keys)}")
        self.averages = {key: dict(average) for key, average in stored.items()}

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


class EMA(WeightAverages):
    """Exponential moving averages of the weights, with the decay d_n = min(decay, (1 + n) / (10 + n)).

    This warm-up soon forgets the random initial weights (as in TensorFlow's ExponentialMovingAverage, with which Ho et
    al. 2020 train). The key of each average is ``ema_<decay>``.

    Args:
        decay: the largest share of the old average that an update keeps, in [0, 1); or several, for as many averages.
        every_n_steps: number of optimizer steps between two updates.

    Raises:
        ValueError: naming the key, if an argument is out of its range.
    """

    def __init__(self, decay: float | list[float] = 0.9999, every_n_steps: int = 1) -> None:
        self.decays = [float(one) for one in decay] if isinstance(decay, Sequence) else [decay]
        for one in self.decays:
            if not 0 <= one < 1:
                raise ValueError(f"ema.decay must be at least 0 and below 1, got {one}")
        if not self.decays or len(set(self.decays)) < len(self.decays):
            raise ValueError(f"ema.decay must be a number or several different ones, got {self.decays}")
        super().__init__([f"ema_{one}" for one in self.decays], every_n_steps)

    def decays_at(self, update: int) -> list[float]:
        return [min(decay, (1 + update) / (10 + update)) for decay in self.decays]


@contextlib.contextmanager
def averaged(trainer: pl.Trainer, module: nn.Module) -> Iterator[None]:
    """Let `module` hold the average of its weights in the block, if the trainer keeps one."""
    averages = [callback for callback in trainer.callbacks if isinstance(callback, WeightAverages)]  # type: ignore[attr-defined]
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
