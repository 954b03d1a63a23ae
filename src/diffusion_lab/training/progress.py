"""The progress bar: one bar for the whole run, and one line for each epoch."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm


class RunProgress(ProgressBar):
    """Shows epoch, loss, images/s and the time that is left.

    An epoch leaves a line if it was validated or if the last line is `line_seconds` old.

    Args:
        line_seconds: see above.
        refresh_seconds: how often the bar is drawn; the loss is only read then, since reading it makes a GPU wait.
    """

    def __init__(self, refresh_seconds: float = 0.5, line_seconds: float = 10.0) -> None:
        super().__init__()
        self.refresh_seconds = refresh_seconds
        self.line_seconds = line_seconds
        self._line_due = 0.0
        self._validated = False
        self._bar: Any = None
        self._enabled = True
        self._images = 0
        self._epoch_start = 0.0
        self._drawn = 0.0

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._enabled or not trainer.is_global_zero:
            return
        total = trainer.estimated_stepping_batches
        self._bar = tqdm(
            total=None if math.isinf(total) else int(total),
            initial=trainer.global_step,
            unit="step",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
            miniters=1,
            mininterval=self.refresh_seconds,
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._images = 0
        self._epoch_start = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch.label) * trainer.world_size
        if self._bar is None or self._bar.disable:
            return
        self._bar.update(trainer.global_step - self._bar.n)
        now = time.monotonic()
        if now - self._drawn >= self.refresh_seconds:
            self._drawn = now
            self._bar.set_description(f"epoch {trainer.current_epoch + 1}{_of(trainer.max_epochs)}", refresh=False)
            rate = self._images / (now - self._epoch_start)
            self._bar.set_postfix_str(f"loss {float(outputs['loss']):.4f}, {rate:,.0f} images/s")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._enabled or not trainer.is_global_zero:
            return
        now = time.monotonic()
        if not self._validated and now < self._line_due:
            return
        self._line_due = now + self.line_seconds
        seconds = now - self._epoch_start
        metrics = trainer.callback_metrics
        shown = _SHOWN if self._validated else _SHOWN[:1]
        values = [f"{name} {float(metrics[key]):.4f}" for name, key in shown if key in metrics]
        self._validated = False
        line = f"epoch {trainer.current_epoch + 1}{_of(trainer.max_epochs)}  " + "  ".join(values)
        tqdm.write(f"{line}  {self._images / seconds:,.0f} images/s  {seconds:.0f} s", file=sys.stdout)
        sys.stdout.flush()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def print(self, *args: Any, **kwargs: Any) -> None:
        tqdm.write(" ".join(map(str, args)))

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


_SHOWN = (("train", "train/loss_epoch"), ("val", "val/loss"))


def _of(max_epochs: int | None) -> str:
    return f"/{max_epochs}" if max_epochs is not None and max_epochs > 0 else ""
