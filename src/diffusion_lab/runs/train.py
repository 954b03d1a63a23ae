"""One training run, from its settings to a folder of results: prepare it, fit it, finish it."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from diffusion_lab import console
from diffusion_lab.config.build import build
from diffusion_lab.config.instantiate import make_one
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.tree import option_of
from diffusion_lab.errors import LabError, RunInterrupted, RunPruned
from diffusion_lab.machine import disk_errors
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.machine.deterministic_kernels import deterministic_kernels
from diffusion_lab.machine.rank_launcher import end_with_parent
from diffusion_lab.machine.ranks import (
    interrupt_on_sigterm,
    is_rank_zero,
    rank_zero_reports_first,
    single_process_restored,
)
from diffusion_lab.run_folder import command_lines
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.manifest import Manifest, weights_hash
from diffusion_lab.runs import hparams, start_table
from diffusion_lab.runs.bfloat16_check import warn_of_slow_bfloat16
from diffusion_lab.runs.draws import draw_recorded, save_final_draw
from diffusion_lab.runs.evaluations import evaluate_now, save_result_figures
from diffusion_lab.runs.loggers import close_loggers
from diffusion_lab.runs.prepare import (
    PreparedRun,
    Start,
    joined_start,
    new_start,
    prepare,
    record_start,
    resumed_start,
    sets_loggers,
)
from diffusion_lab.runs.rank_processes import use_rank_processes
from diffusion_lab.runs.resume import find_requeued_run
from diffusion_lab.runs.run_figures import figures_after_training, figures_before_training
from diffusion_lab.runs.summary import show_summary
from diffusion_lab.training.ema import WeightAverages, averaged
from diffusion_lab.training.epoch_history import History
from diffusion_lab.training.fsdp import FullySharded
from diffusion_lab.training.time_limit import stopped_by


def train(
    settings: TrainConfig,
    overrides: Sequence[str],
    options: Mapping[str, str | None] | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> RunFolder:
    """Train a new run, or go on with the one that `settings.resume` names, and return the folder of results.

    Args:
        settings: of the run.
        overrides: that were typed to get them, for the record.
        options: the option of each config group, for the record.
        callbacks: besides those of `settings`; they change nothing of the result but when it ends.

    Raises:
        LabError: naming what does not fit; nothing has been written then.
        RunInterrupted: after Ctrl-C, with the command that goes on as its message.
        RunPruned: where one of `callbacks` raised it.
    """
    speaker = make_one(settings.console, "console", console.Console) if is_rank_zero() else console.Console()
    with rank_zero_reports_first(), interrupt_on_sigterm(), console.use(speaker):
        if settings.resume:
            loggers = settings.logger if any(map(sets_loggers, overrides)) else None
            start = resumed_start(RunFolder.open(settings.resume), overrides, loggers)
        elif (requeued := find_requeued_run(settings, overrides)) is not None:
            start = resumed_start(RunFolder.open(requeued), [], settings.logger)
        else:
            start = new_start(settings, overrides, options or {})
        return _run(start, callbacks)


def join(path: str) -> None:
    """Take part, as a process that rank 0 started, in the run in the folder `path`."""
    end_with_parent()
    with rank_zero_reports_first(), interrupt_on_sigterm(), console.use(console.Console()):
        _run(joined_start(RunFolder(path)), ())


def _run(start: Start, callbacks: Sequence[pl.Callback]) -> RunFolder:
    """Take a run from its start to its end; only rank 0 writes and speaks."""
    trainer = start.settings.trainer
    with deterministic_kernels(bool(trainer.get("deterministic")), trainer.get("accelerator", "auto")):
        run = prepare(start, callbacks)
        if not run.trainer.is_global_zero:
            fit(run)
            return run.folder
        with run.folder.held():
            manifest = record_start(run)
            began = time.monotonic()
            with (
                disk_errors.kept_from_threads() as of_threads,
                _failure_recorded(run, manifest),
                disk_errors.named(run.folder.path, of_threads),
            ):
                chosen = _introduce(run, manifest)
                use_rank_processes(run.folder, run.trainer, manifest)
                run = fit(run)
                metrics = finish(run)
                hparams.log_results(run.trainer, chosen, metrics, manifest.wall_time())
                close_loggers(run.trainer.loggers, "success")
            reason = stopped_by(run.trainer)
            manifest.end_session("finished", stopped_by=reason, steps=run.trainer.global_step, **_weights_hashes(run))
            show_summary(run.folder, Path(run.settings.paths.output_dir), metrics, time.monotonic() - began, reason)
    return run.folder


def fit(run: PreparedRun) -> PreparedRun:
    """Train, and return the run with its trained weights in one piece."""
    trainer, parts = run.trainer, run.parts
    with single_process_restored(trainer):
        if run.settings.compile:
            compile_network(parts.network, trainer.strategy.root_device)
        started = _TrainingStarted()
        trainer.callbacks.append(started)  # type: ignore[attr-defined]
        try:
            trainer.fit(parts.module, datamodule=parts.data, ckpt_path=run.start.checkpoint, weights_only=True)
        except LabError:
            raise
        except Exception as error:  # what was changed in a checkpoint makes Lightning raise anything
            if run.start.checkpoint is None or started.yes or disk_errors.is_unwritable(error):
                raise
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise LabError(f"{run.start.checkpoint} is damaged: training cannot go on from it ({text})") from error
        if not isinstance(trainer.strategy, FullySharded):
            return run
        weights = trainer.strategy.whole_weights()
        if not trainer.is_global_zero:
            return run
        whole = build(run.settings)
        whole.module.to(next(iter(weights.values())).dtype).load_state_dict(weights)
        return replace(run, parts=replace(whole, data=parts.data))


class _TrainingStarted(pl.Callback):
    """Says whether the trainer has restored its checkpoint and begun to train."""

    yes = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.yes = True


def finish(run: PreparedRun) -> dict[str, Any]:
    """Draw the samples and figures of a trained run, evaluate the samples, and return the content of `metrics.json`."""
    trainer, parts, settings = run.trainer, run.parts, run.settings
    # The trainer leaves the module on the CPU.
    parts.module.to(trainer.strategy.root_device)
    history = next((c for c in trainer.callbacks if isinstance(c, History)), History())  # type: ignore[attr-defined]
    step = trainer.global_step
    metrics: dict[str, Any] = {"step": step, "epochs": history.epochs}
    metrics |= {key: value for key, value in history.metrics.items() if key != "train/loss_step"}
    run.folder.write_json("metrics.json", metrics)  # it is there even if a draw or an evaluation fails
    bar = settings.trainer.get("enable_progress_bar", True) and console.current().bar
    console.current().note(f"drawing {settings.sampling.num_samples} samples")
    with averaged(trainer, parts.module):
        drawn, trajectory = draw_recorded(parts.pipeline, settings.sampling, bar)
        save_final_draw(drawn, settings, parts, step, run.folder)
        figures_after_training(parts, run.folder, trainer.loggers, history.epochs, step, drawn, trajectory)
        results = evaluate_now(settings, parts, run.folder, step, bar, drawn)
    for name, result in results.items():
        metrics[name] = dict(result.as_dict())
    save_result_figures(results, parts.pipeline.codec, run.folder.figures)
    run.folder.write_json("metrics.json", metrics)
    return metrics


def _introduce(run: PreparedRun, manifest: Manifest) -> dict[str, Any]:
    """Show, record and log what is trained, before the first step; return the hyperparameters that are logged."""
    config, loggers = run.settings.as_node(), run.trainer.loggers
    chosen = hparams.hyperparameters(config, run.start.overrides, manifest.content.get("options") or {})
    trainer, data = run.trainer, run.parts.data
    console.current().start(start_table.table(run.settings, run.parts, trainer, run.folder))
    if run.start.folder is None:  # a run that is resumed keeps its precision
        samples = math.ceil(data.batch_size / (trainer.world_size * trainer.accumulate_grad_batches))
        device, precision = trainer.strategy.root_device, str(run.settings.trainer.get("precision"))
        warn_of_slow_bfloat16(run.parts, precision, device, samples, training=True)
    manifest.add_fingerprint(config, run.parts, run.trainer)
    hparams.log_config(loggers, config, run.start.overrides, chosen)
    figures_before_training(run.parts, option_of("schedule", run.settings.schedule), run.folder, loggers)
    return chosen


@contextlib.contextmanager
def _failure_recorded(run: PreparedRun, manifest: Manifest) -> Iterator[None]:
    """Record how a run ends that does not finish: ``interrupted``, ``pruned`` or ``failed``; close its loggers."""
    loggers = run.trainer.loggers

    def record_end(status: str, **values: Any) -> None:
        with contextlib.suppress(LabError):  # on a full disk: the first error is the one to show
            manifest.end_session(status, **values)
        with contextlib.suppress(Exception):
            close_loggers(loggers, "success" if status == "pruned" else "failed")

    try:
        yield
    except (RunInterrupted, KeyboardInterrupt, SystemExit) as error:
        record_end("interrupted")
        number = getattr(error, "status", 128 + signal.SIGINT) - 128
        raise RunInterrupted(_resume_hint(run.folder), number) from error
    except RunPruned as error:
        record_end("pruned", error=str(error))
        raise
    except BaseException as error:
        record_end("failed", error=" ".join(str(error).split())[:500])
        raise


def _resume_hint(folder: RunFolder) -> str:
    if not (folder.path / "checkpoints" / "last.ckpt").is_file():
        return "Interrupted. Nothing had been saved yet."
    return f"Interrupted. To go on: {command_lines.resume(folder)}"


def _weights_hashes(run: PreparedRun) -> dict[str, str]:
    hashes = {"weights": weights_hash(run.parts.module.state_dict())}
    for callback in run.trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAverages):
            hashes["ema_weights"] = weights_hash(callback.named_tensors())
    return hashes
