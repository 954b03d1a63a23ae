"""How training is going besides its loss: learning rate, norms, speed, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from diffusion_lab.training.fsdp import FullySharded

_MIB = 2**20


class Telemetry(pl.Callback):
    """Logs at the trainer's `log_every_n_steps`, and touches the device at no other step.

    - ``optimizer/learning_rate``: of the step.
    - ``optimizer/gradient_norm``: the 2-norm of the gradient of the whole batch over all parameters, before it is
      clipped; ``optimizer/weight_norm``: of the weights that it was taken at.
    - ``speed/images_per_s`` (for other data, with its own word): of all processes together, since the last log;
      validation, sampling and what else is done at an epoch's end do not count.
    - ``memory/peak_MiB``: the most that tensors have taken on the GPU since training started, and on the CPU that
      the program has since it was started; on Apple's GPUs, what is held now. Of several processes, the largest.

    Attributes:
        seen: how many items of data the run has trained on so far, over all its sessions.
        seconds: how long it took, without validation and samples.
        item: the word for one item of the data.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.seconds = 0.0
        self.item = "sample"
        self._started: float | None = None  # when the clock last was, None while it stands
        self._logged = (0, 0.0)  # items and seconds at the last log
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        self._read_clock()
        return {"seen": self.seen, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seen, self.seconds = int(state_dict["seen"]), float(state_dict["seconds"])
        self._logged = (self.seen, self.seconds)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step
        self.item = getattr(trainer.datamodule, "item", self.item)  # type: ignore[attr-defined]
        if pl_module.device.type == "cuda":  # an earlier run of a sweep may have needed more
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if not _logs_at(trainer.global_step + 1, trainer):
            return
        parameters = list(pl_module.parameters())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        pl_module.log("optimizer/learning_rate", optimizer.param_groups[0]["lr"])
        pl_module.log("optimizer/gradient_norm", _norm(gradients, trainer))
        pl_module.log("optimizer/weight_norm", _norm(parameters, trainer))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step != self._step:  # else the batch is not complete yet
            self._step = trainer.global_step
            self.seen += batch.size
            if _logs_at(self._step, trainer):
                self._log_speed_and_memory(pl_module)
        if trainer.is_last_batch or self._step == trainer.max_steps:
            self._stop(pl_module.device)

    def _log_speed_and_memory(self, pl_module: pl.LightningModule) -> None:
        _wait_for(pl_module.device)
        self._read_clock()
        seen, seconds = self.seen - self._logged[0], self.seconds - self._logged[1]
        self._logged = (self.seen, self.seconds)
        pl_module.log(f"speed/{self.item}s_per_s", seen / seconds)
        pl_module.log("memory/peak_MiB", _memory(pl_module.device), reduce_fx="max", sync_dist=True)

    # The clock runs while there are batches: from the start of an epoch, or the first batch after a validation,
    # to the epoch's last batch or the next validation.

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start()

    def on_train_batch_start(self, *_: Any) -> None:
        self._start()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop(pl_module.device)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop(pl_module.device)

    def _start(self) -> None:
        if self._started is None:
            self._started = time.monotonic()

    def _read_clock(self) -> None:
        if self._started is not None:
            now = time.monotonic()
            self.seconds += now - self._started
            self._started = now

    def _stop(self, device: torch.device) -> None:
        if self._started is not None:
            _wait_for(device)
            self._read_clock()
            self._started = None


def _norm(tensors: Sequence[Tensor], trainer: pl.Trainer) -> Tensor:
    norm = get_total_norm(tensors)
    if isinstance(trainer.strategy, FullySharded):  # each process has a part of every tensor
        norm = trainer.strategy.reduce(norm.square(), reduce_op="sum").sqrt()
    return norm


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _memory(device: torch.device) -> float:
    """In MiB; see `Telemetry`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / _MIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MIB if sys.platform == "darwin" else peak / 1024  # bytes there, KiB elsewhere


def _logs_at(step: int, trainer: pl.Trainer) -> bool:
    """Whether the trainer logs after so many steps; never where `log_every_n_steps` is 0."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and step % every == 0
