"""Progress of training on the terminal: a line for each epoch, an estimate of the time, and one bar."""

from __future__ import annotations

import math
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from diffusion_lab import console
from diffusion_lab.training.time_estimate import Estimate


class RunProgress(pl.Callback):
    """Prints a line for each epoch, and shows loss, speed and the remaining time in a bar on stderr.

    An epoch is worth a line to people if it was validated or if the last line is `line_seconds` old. The bar is
    this callback's own and none of Lightning's kind, so that it can be switched off and the rest stays.

    Args:
        bar: whether to show the bar; filled in from trainer.enable_progress_bar.
        refresh_seconds: how often the bar is drawn; the loss is only read then, since reading it makes a GPU wait.
        line_seconds: see above.
    """

    def __init__(self, bar: bool = True, refresh_seconds: float = 0.5, line_seconds: float = 10.0) -> None:
        self.bar = bar
        self.refresh_seconds = refresh_seconds
        self.line_seconds = line_seconds
        self._line_due = 0.0
        self._validated = False
        self._bar: Any = None
        self._estimate: Estimate | None = None
        self._items = "samples"  # the word for the items of the data
        self._seen = 0
        self._epoch_start = 0.0
        self._drawn = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_start = time.monotonic()  # of an epoch that is resumed in its middle, Lightning tells no start
        if not trainer.is_global_zero:
            return
        self._items = f"{getattr(trainer.datamodule, 'item', 'sample')}s"  # type: ignore[attr-defined]
        total = trainer.estimated_stepping_batches
        self._estimate = Estimate(trainer.global_step, total)
        if self.bar and console.current().bar:
            self._bar = tqdm(
                total=None if math.isinf(total) else int(total),
                initial=trainer.global_step,
                unit="step",
                dynamic_ncols=True,
                miniters=1,
                mininterval=self.refresh_seconds,
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._seen = 0
        self._epoch_start = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._seen += len(batch.x) * trainer.world_size
        if self._estimate is not None:
            forecast = self._estimate.after(trainer.global_step, lambda: float(outputs["loss"]))
            if forecast is not None:
                text = f"about {console.duration(forecast.seconds)} to train ({_rate(forecast.rate)} steps/s)"
                facts = {"seconds": forecast.seconds, "steps_per_second": forecast.rate}
                console.current().event("estimate", text, step=trainer.global_step, **facts)
        if self._bar is None:
            return
        self._bar.update(trainer.global_step - self._bar.n)
        now = time.monotonic()
        if now - self._drawn >= self.refresh_seconds:
            self._drawn = now
            self._bar.set_description(f"epoch {trainer.current_epoch + 1}{_of(trainer.max_epochs)}", refresh=False)
            rate = self._seen / (now - self._epoch_start)
            self._bar.set_postfix_str(f"loss {console.loss(float(outputs['loss']))}, {rate:,.0f} {self._items}/s")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        metrics = trainer.callback_metrics
        shown = _SHOWN if self._validated else _SHOWN[:1]
        values = {name: float(metrics[key]) for name, key in shown if key in metrics}
        seconds = now - self._epoch_start
        speed = self._seen / seconds
        facts = {f"{self._items}_per_second": speed, "seconds": seconds}
        line = None
        if self._validated or now >= self._line_due:
            self._line_due = now + self.line_seconds
            line = f"epoch {trainer.current_epoch + 1}{_of(trainer.max_epochs)}  "
            line += "  ".join(f"{name.partition('/')[0]} {console.loss(value)}" for name, value in values.items())
            line += f"  {speed:,.0f} {self._items}/s  {seconds:.0f} s"
        self._validated = False
        epoch = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        console.current().event("epoch", line, **epoch, **values, **facts)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


#: The name of a loss as in metrics.json, and Lightning's.
_SHOWN = (("train/loss", "train/loss_epoch"), ("val/loss", "val/loss"))


def _of(max_epochs: int | None) -> str:
    return f"/{max_epochs}" if max_epochs is not None and max_epochs > 0 else ""


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
