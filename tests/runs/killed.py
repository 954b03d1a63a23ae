"""Runs in processes of their own that are killed (SIGKILL) at a chosen moment. No test."""

import contextlib
import csv
import io
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from pixel_moments import MOMENTS

from conftest import TINY
from diffusion_lab.config.reader_schema import EvaluateConfig
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import read_settings
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.runs.evaluate import evaluate
from diffusion_lab.runs.train import train
from diffusion_lab.sampling import Pipeline
from diffusion_lab.training import checkpoint_io
from diffusion_lab.training.step_losses import read_step_losses
from doors import SERVER

#: Columns of the log that tell of time and memory.
TIMING = ("speed/", "memory/")


class Kill(pl.Callback):
    """Kills its process at a moment of the step numbered `step`, from 0."""

    def __init__(self, moment, step):
        self.moment, self.step = moment, step

    def _at(self, moment, trainer):
        if moment == self.moment and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_start(self, trainer, *_):
        if self.moment in ("writing a checkpoint", "after a checkpoint") and trainer.global_step == self.step:
            self._kill_while_saving()
        self._at("between steps", trainer)

    def on_before_optimizer_step(self, trainer, *_):
        self._at("in a step", trainer)

    def on_train_batch_end(self, trainer, *_):
        self._at("after a step", trainer)

    def on_validation_batch_start(self, trainer, *_):
        self._at("in a validation", trainer)

    def on_validation_end(self, trainer, *_):
        self._at("after a validation", trainer)

    def on_train_epoch_end(self, trainer, *_):
        self._at("at an epoch's end", trainer)

    def on_train_end(self, trainer, *_):
        self._at("at the end", trainer)

    def _kill_while_saving(self):
        """The next checkpoint is half written when the process dies; or whole, and nothing comes after it."""
        save, replace = torch.save, Path.replace

        def half(content, file):
            save(content, file)
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        def whole(path, target):
            replace(path, target)
            if Path(target).suffix == ".ckpt":
                os.kill(os.getpid(), signal.SIGKILL)

        if self.moment == "writing a checkpoint":
            checkpoint_io.torch.save = half
        else:
            Path.replace = whole


def trained(overrides, callbacks, output, base):
    """In the child: a run of a tiny config, silent."""
    torch.set_num_threads(1)
    to_nobody = contextlib.redirect_stdout, contextlib.redirect_stderr
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, to_nobody[0](nothing), to_nobody[1](nothing):
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("train", [*base, f"paths.output_dir={output}", *overrides])
        try:
            train(
                read_settings(TrainConfig, cfg),
                [o for o in overrides if o.startswith(("resume=", "trainer.max_"))],
                callbacks=callbacks,
            )
        except BaseException as error:
            Path(output, "error").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
            sys.exit(getattr(error, "status", 1))


def run(output, *overrides, callbacks=(), base=TINY):
    """Run to the end, or to its violent one; returns the exit status and the run folder."""
    output.mkdir(exist_ok=True)
    child = SERVER.Process(target=trained, args=(list(overrides), list(callbacks), str(output), base))
    child.start()
    child.join(250)
    assert child.exitcode is not None, "it hangs"
    folders = list((output / "tiny").iterdir())
    assert len(folders) == 1
    error = output / "error"
    return child.exitcode, folders[0], error.read_text() if error.exists() else ""


def evaluated_until(overrides, moment, count):
    """In the child: an evaluation that is killed while it draws its batch number `count`, or while it writes it."""
    torch.set_num_threads(1)
    draw, save, calls = Pipeline.draw, np.save, []

    def drawn(pipeline, *arguments, on_step, **options):
        calls.append(options["first"])

        def step(done):
            on_step(done)
            if moment == "in a batch" and len(calls) == count and done.number == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        return draw(pipeline, *arguments, on_step=step, **options)

    def saved(file, samples):
        whole = io.BytesIO()
        save(whole, samples)
        if moment == "writing a batch" and len(calls) == count:
            file.write(whole.getvalue()[: whole.tell() // 2])
            file.write.__self__.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        file.write(whole.getvalue())

    Pipeline.draw, np.save = drawn, saved
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("evaluate", ["console=quiet", *overrides])
    evaluate(replace(read_settings(EvaluateConfig, cfg), evaluation=MOMENTS))


def evaluated(*overrides, moment="never", count=0):
    """Evaluate to the end, or to a violent one; returns the exit status."""
    child = SERVER.Process(target=evaluated_until, args=(list(overrides), moment, count))
    child.start()
    child.join(250)
    assert child.exitcode is not None, "it hangs"
    return child.exitcode


def differences(one, other):
    """What differs between two finished runs: names of files, keys and columns; empty if they are the same run."""
    found = []
    losses = [read_step_losses(folder) for folder in (one, other)]
    if not np.array_equal(*losses, equal_nan=False):
        found.append(f"step losses {losses}")
    rows = [_rows(folder / "csv" / "metrics.csv") for folder in (one, other)]
    if rows[0] != rows[1]:
        unequal = [pair for pair in zip(*rows, strict=False) if pair[0] != pair[1]]
        found.append(f"rows {unequal[:3]} of {list(map(len, rows))}")
    states = [torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (one, other)]
    found += [f"last.ckpt {place}" for place in _unequal(*map(_without_clocks, states))]
    best = [torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True) for folder in (one, other)]
    found += [f"best.ckpt {place}" for place in _unequal(*[b["state_dict"] for b in best])]
    stored = [sorted((folder / "checkpoints" / "averages").glob("*")) for folder in (one, other)]
    if [path.name for path in stored[0]] != [path.name for path in stored[1]]:
        found.append(f"stored averages {stored}")
    for pair in zip(*stored, strict=False):
        copies = [torch.load(path, weights_only=True) for path in pair]
        found += [f"{pair[0].name} {place}" for place in _unequal(*copies)]
    if not np.array_equal(*[np.load(folder / "samples" / "final.npy") for folder in (one, other)]):
        found.append("samples")
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (one, other)]
    kept = [{key: value for key, value in numbers.items() if not key.startswith(TIMING)} for numbers in metrics]
    return found + [f"metrics.json {place}" for place in _unequal(*kept)]


def _rows(path):
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if v and not k.startswith(TIMING)} for row in csv.DictReader(file)]


def _without_clocks(state):
    callbacks = {name: value for name, value in state["callbacks"].items() if "Telemetry" not in name}
    for value in callbacks.values():
        if "metrics" in value:
            value["metrics"] = {k: v for k, v in value["metrics"].items() if not k.startswith(TIMING)}
    # How many batches have been validated in the epoch: the trainer counts for its bar, and recounts on resume.
    loops = {name: value for name, value in state["loops"]["fit_loop"].items() if "val_loop" not in name}
    return {**state, "callbacks": callbacks, "loops": loops}


def _unequal(one, other, place=""):
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [place]
    if isinstance(one, dict):
        if not isinstance(other, dict) or one.keys() != other.keys():
            return [f"{place}: {one.keys()} {getattr(other, 'keys', list)()}"]
        return [p for key in one for p in _unequal(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{place}: {len(one)} {len(other)}"]
        return [p for i, pair in enumerate(zip(one, other, strict=True)) for p in _unequal(*pair, f"{place}/{i}")]
    return [] if one == other else [f"{place}: {one} {other}"]
