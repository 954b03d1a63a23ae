"""Whether a run that is killed at random moments and resumed is the run that is never stopped."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from diffusion_lab import console
from diffusion_lab.config.cli import guarded
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import TrainConfig, VerifyConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.library_warnings import calm
from diffusion_lab.machine.ranks import terminable
from diffusion_lab.reproduction.compare_results import compare
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.train import train
from diffusion_lab.runs.validate import validated
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.checkpoints import checkpoint_path

#: Of a checkpoint, what training goes on with.
_STATE = ("state_dict", "ema", "optimizer_states", "lr_schedulers", "epoch", "global_step")

#: What is no key of a training run.
_OWN = ("kills", "kill_seed")


def verify_resume(settings: VerifyConfig, overrides: Sequence[str], options: Mapping[str, str | None]) -> bool:
    """Train twice, once without a stop and once killed and resumed; show the console the verdict.

    Args:
        settings: of conf/verify_resume.yaml.
        overrides: what was typed.
        options: of each config group.

    Returns:
        Whether the two runs are identical.

    Raises:
        LabError: naming what does not fit, or the run that failed.
        RunInterrupted: after Ctrl-C.
    """
    calm()
    run = read_settings(TrainConfig, settings.as_node())
    kills, chance = settings.kills, random.Random(settings.kill_seed)
    typed = [text for text in overrides if text.split("=")[0] not in _OWN]
    with torch.random.fork_rng():
        validated(run)
    with console.speaking(make(settings.console, "console", {})), terminable():
        say = console.current().note
        say("first, the run that is not stopped")
        whole, seconds, _ = _session(run, typed, options)
        stopped: Path | None = None
        for number in range(1, kills + 1):
            after = chance.uniform(0, seconds / kills)
            going_on = run if stopped is None else replace(run, resume=str(stopped), init_from=None)
            stopped, _, killed = _session(going_on, typed if stopped is None else [], options, after)
            if killed:
                say(f"killed (kill -9) {console.duration(after)} after its training went on, {number} of {kills}")
            else:
                say("it came to its end before it was killed")
                break
        else:
            assert stopped is not None  # kills is at least 1
            _session(replace(run, resume=str(stopped), init_from=None), [], options)
        return _tell(RunFolder(stopped), RunFolder(whole))


def _tell(stopped: RunFolder, whole: RunFolder) -> bool:
    found = compare(stopped, whole)
    states = [read_checkpoint(checkpoint_path(folder.path, "last")) for folder in (stopped, whole)]
    unequal = [key for key in _STATE if not _equal(*(state.get(key) for state in states))]
    identical = not found.first and not unequal
    kills = len(stopped.read_json("manifest.json").get("sessions", [])) - 1
    compared = ", ".join([f"{found.steps:,} steps", *found.compared, "optimizer"])
    verdict = f"identical: {compared}; resumed {kills} time{'s' * (kills != 1)}"
    if not identical:
        verdict = f"differs: {'; '.join(map(str, [*found.first, *(f'last.ckpt: {key}' for key in unequal)]))}"
    text = f"\n{verdict}\n  not stopped: {whole.path}\n  killed:      {stopped.path}"
    facts = {"identical": identical, "steps": found.steps, "resumed": kills, "checkpoint": unequal}
    console.current().event("verdict", text, verdict=verdict, **facts, run_folder=stopped.path, whole=whole.path)
    return identical


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _session(
    run: TrainConfig, overrides: Sequence[str], options: Mapping[str, str | None], kill_after: float | None = None
) -> tuple[Path, float, bool]:
    """Train in a process of its own, and kill it so many seconds after its training began or went on.

    Returns:
        The run folder, the seconds that it trained, and whether it was killed.

    Raises:
        LabError: if it failed, or somebody else killed it.
        RunInterrupted: if this process or that one was asked to stop.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(run, list(overrides), dict(options), kill_after, there))
    process.start()
    there.close()
    heard: dict[str, Any] = {}
    try:
        while True:
            heard.update(here.recv())
    except EOFError:  # it has ended
        pass
    except KeyboardInterrupt:
        process.join()  # the terminal has told it, too
        raise
    except RunInterrupted:
        process.terminate()
        process.join()
        raise
    process.join()
    status = process.exitcode or 0
    if status in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        raise RunInterrupted("Interrupted.", status - 128)
    killed = status == -signal.SIGKILL and kill_after is not None and "folder" in heard
    if status and not killed:
        how = ", as said above" if status > 0 else f", killed by signal {-status}"
        raise LabError(f"the run failed{how}: nothing can be compared")
    return Path(heard["folder"]), heard.get("seconds", 0.0), killed


class _Watch(pl.Callback):
    """Tells where the run is and how long it trains, and kills its process."""

    def __init__(self, kill_after: float | None, pipe: Connection) -> None:
        self.kill_after = kill_after
        self.pipe = pipe
        self._began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.monotonic()
        self.pipe.send({"folder": trainer.default_root_dir})
        if self.kill_after is not None:
            timer = threading.Timer(self.kill_after, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.pipe.send({"seconds": time.monotonic() - self._began})


def _train(
    run: TrainConfig,
    overrides: list[str],
    options: dict[str, str | None],
    kill_after: float | None,
    pipe: Connection,
) -> None:
    guarded(lambda: train(run, overrides, options, [_Watch(kill_after, pipe)]))
