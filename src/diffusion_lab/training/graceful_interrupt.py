"""Stop a run between two steps, with a checkpoint, on Ctrl-C or on the signal of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments import SLURMEnvironment

from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.rank_agreement import RankAgreement
from diffusion_lab.training.checkpoints import Checkpoints

#: A signal that follows within this time is the same keypress: torchrun passes on what the terminal has sent too.
_SAME_KEYPRESS_SECONDS = 0.5


class GracefulInterrupt(pl.Callback):
    """Finishes the current step, saves and stops on the first signal; stops at once on the second.

    The signals are SIGINT (Ctrl-C), SIGTERM, and under SLURM the one that announces the end of the job's time limit
    (Lightning's default is SIGUSR1), on which the job is also requeued. Lightning's own handlers would save in the
    middle of a step.

    From a state saved between steps, training can be resumed exactly. All processes of a run stop after the same
    step, whichever of them received the signal.
    """

    def __init__(self) -> None:
        self.requested = 0  # the number of the signal
        self._requested_at = 0.0
        self._previous: dict[int, Any] = {}
        self._agreement: RankAgreement | None = None
        self._reports = True

    # Handlers are set after Lightning has set its own, and removed before it removes them.
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._agreement = RankAgreement(trainer.world_size)
        self._reports = trainer.is_global_zero
        for number in (signal.SIGINT, signal.SIGTERM, _requeue_signal(trainer)):
            if number is not None:
                try:
                    self._previous[number] = signal.signal(number, self._handle)
                except ValueError:  # only the main thread can handle signals
                    return

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # A stop between the parts of an accumulated batch would lose the gradients of the first parts.
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._stop_if(self._agreed_signal(), trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if(self._agreed_signal(wait=True), trainer)

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested:
            if now - self._requested_at < _SAME_KEYPRESS_SECONDS:
                return
            raise KeyboardInterrupt
        self.requested, self._requested_at = signal_number, now
        if self._reports:
            again = "; Ctrl-C again stops at once" if signal_number == signal.SIGINT else ""
            print(f"\nStopping after this step{again}.", file=sys.stderr)

    def _agreed_signal(self, wait: bool = False) -> int:
        assert self._agreement is not None
        return self._agreement.largest(self.requested, wait)

    def _stop_if(self, number: int, trainer: pl.Trainer) -> None:
        if not number:
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, Checkpoints):
                callback.save_last(trainer)
        if number == _requeue_signal(trainer) and trainer.is_global_zero:
            _requeue()
        raise RunInterrupted(signal_number=number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


def _requeue_signal(trainer: pl.Trainer) -> int | None:
    environment = trainer._accelerator_connector.cluster_environment
    return environment.requeue_signal if isinstance(environment, SLURMEnvironment) else None


def slurm_job() -> str | None:
    """Return the id of this SLURM job, which it keeps when it is requeued; None outside SLURM."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ.get('SLURM_ARRAY_TASK_ID')}"
    return os.environ.get("SLURM_JOB_ID")


def _requeue() -> None:
    """Requeue this SLURM job.

    Raises:
        LabError: if SLURM refuses; the state has been saved.
    """
    job = slurm_job() or ""
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        raise LabError(f"the state is saved, but SLURM did not requeue job {job}: {reason}") from error
