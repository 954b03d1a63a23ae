"""Verify that a run which is killed at random moments and resumed is identical to one that is never stopped."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from diffusion_lab import console
from diffusion_lab.config.cli import exit_on_error
from diffusion_lab.config.instantiate import make_one
from diffusion_lab.config.schema import TrainConfig, VerifyConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.ranks import interrupt_on_sigterm
from diffusion_lab.reproduction.compare_results import compare_results
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.train import train
from diffusion_lab.runs.validate import validated
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.checkpoints import checkpoint_path

#: The parts of a checkpoint from which training resumes.
_TRAINING_STATE = ("state_dict", "ema", "optimizer_states", "lr_schedulers", "epoch", "global_step")

#: The keys that a training run does not have.
_VERIFICATION_KEYS = ("kills", "kill_seed")


def verify_resume(settings: VerifyConfig, overrides: Sequence[str], options: Mapping[str, str | None]) -> bool:
    """Train twice, once without a stop and once killed and resumed, and print whether the two runs are identical.

    Args:
        settings: of conf/verify_resume.yaml.
        overrides: as they were typed.
        options: the chosen option of each config group.

    Returns:
        Whether the two runs are identical.

    Raises:
        LabError: naming a key that does not fit, or if one of the runs failed.
        RunInterrupted: after Ctrl-C.
    """
    run = read_settings(TrainConfig, settings.as_node())
    kills, rng = settings.kills, random.Random(settings.kill_seed)
    typed = [text for text in overrides if text.split("=")[0] not in _VERIFICATION_KEYS]
    with torch.random.fork_rng():
        validated(run)
    with console.use(make_one(settings.console, "console", console.Console)), interrupt_on_sigterm():
        print_note = console.current().note
        print_note("first, the run that is not stopped")
        whole, seconds, _ = _session(run, typed, options)
        stopped: Path | None = None
        resumed = 0  # how often there was a checkpoint to go on from
        for number in range(1, kills + 1):
            after = rng.uniform(0, seconds / kills)
            session = run if stopped is None else run.resuming(str(stopped))
            stopped, _, killed = _session(session, typed if stopped is None else [], options, after)
            resumed += killed and checkpoint_path(stopped, "last").is_file()
            if killed:
                print_note(f"killed (kill -9) {console.duration(after)} into its training, {number} of {kills}")
            else:
                print_note("the run finished before it was killed")
                break
        else:
            assert stopped is not None  # kills is at least 1
            _session(run.resuming(str(stopped)), [], options)
        return _print_verdict(RunFolder(stopped), RunFolder(whole), resumed)


def _print_verdict(stopped: RunFolder, whole: RunFolder, resumed: int) -> bool:
    comparison = compare_results(stopped, whole)
    states = [read_checkpoint(checkpoint_path(folder.path, "last")) for folder in (stopped, whole)]
    differing_state = [key for key in _TRAINING_STATE if not _equal(*(state.get(key) for state in states))]
    identical = not comparison.first_differences and not differing_state
    compared = ", ".join([f"{comparison.steps:,} steps", *comparison.compared, "optimizer"])
    verdict = f"identical: {compared}; resumed {resumed} time{'s' * (resumed != 1)}"
    if not resumed:
        verdict += " (no kill came after the first checkpoint: train for more steps, or save more often)"
    if not identical:
        differences = [*map(str, comparison.first_differences), *(f"last.ckpt: {key}" for key in differing_state)]
        verdict = f"differs: {'; '.join(differences)}"
    text = f"\n{verdict}\n  not stopped: {whole.path}\n  killed:      {stopped.path}"
    fields = {"identical": identical, "steps": comparison.steps, "resumed": resumed, "checkpoint": differing_state}
    console.current().event("verdict", text, verdict=verdict, **fields, run_folder=stopped.path, whole=whole.path)
    return identical


def _equal(one: Any, other: Any) -> bool:
    """Return whether two parts of checkpoints are the same; of tensors each bit, so that NaN is the same as NaN."""
    if isinstance(one, torch.Tensor):
        same_kind = isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.shape == other.shape
        return same_kind and torch.equal(*(tensor.flatten().view(torch.uint8) for tensor in (one, other)))
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other) or (one != one and other != other)


def _session(
    run: TrainConfig, overrides: Sequence[str], options: Mapping[str, str | None], kill_after: float | None = None
) -> tuple[Path, float, bool]:
    """Train in a process of its own, and kill it `kill_after` seconds after its training started or resumed.

    Returns:
        The run folder, the seconds of training (0 if it was killed), and whether it was killed.

    Raises:
        LabError: if the run failed, or was killed by somebody else.
        RunInterrupted: if this process or the other one was asked to stop.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(run, list(overrides), dict(options), kill_after, sender))
    process.start()
    sender.close()
    messages: dict[str, Any] = {}
    try:
        while True:
            messages.update(receiver.recv())
    except EOFError:  # the process has ended
        pass
    except KeyboardInterrupt:
        process.join()  # the terminal has sent it Ctrl-C, too
        raise
    except RunInterrupted:
        process.terminate()
        process.join()
        raise
    process.join()
    status = process.exitcode or 0
    if status in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        raise RunInterrupted("Interrupted.", status - 128)
    killed = status == -signal.SIGKILL and kill_after is not None and "folder" in messages
    if status and not killed:
        how = " (see above)" if status > 0 else f", killed by signal {-status}"
        raise LabError(f"the run failed{how}: nothing can be compared")
    return Path(messages["folder"]), messages.get("seconds", 0.0), killed


class _ReportAndKill(pl.Callback):
    """Sends the run folder and the training time through a pipe, and kills its own process after a time."""

    def __init__(self, kill_after: float | None, pipe: Connection) -> None:
        self.kill_after = kill_after
        self.pipe = pipe
        self._started = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # Not in on_train_start, which is not called if the run was killed after its last step.
        self.pipe.send({"folder": trainer.default_root_dir})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic()
        if self.kill_after is not None:
            timer = threading.Timer(self.kill_after, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.pipe.send({"seconds": time.monotonic() - self._started})


def _train(
    run: TrainConfig,
    overrides: list[str],
    options: dict[str, str | None],
    kill_after: float | None,
    pipe: Connection,
) -> None:
    exit_on_error(lambda: train(run, overrides, options, [_ReportAndKill(kill_after, pipe)]))
