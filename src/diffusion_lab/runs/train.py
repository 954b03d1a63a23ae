"""One training run, from a composed config to a folder of results."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor

from diffusion_lab import console
from diffusion_lab.config.build import Parts, build
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.errors import LabError, RunInterrupted, RunPruned
from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.machine.deterministic_kernels import deterministic_kernels
from diffusion_lab.machine.hardware_check import warn_of_lost_updates
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
from diffusion_lab.runs import hparams, resume, start_table, summary
from diffusion_lab.runs.draws import DrawFacts, draw_recorded, save_draw, transforms_of
from diffusion_lab.runs.load import load_weights, named_checkpoint
from diffusion_lab.runs.loggers import close
from diffusion_lab.runs.rank_processes import start_processes_with
from diffusion_lab.runs.run_figures import figures_after_training, figures_before_training
from diffusion_lab.runs.trainer import make_trainer
from diffusion_lab.runs.validate import check_against_data, check_settings, validated
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.ema import EMA, averaged
from diffusion_lab.training.epoch_history import History
from diffusion_lab.training.fsdp import FullySharded

#: What is typed for this session and is no part of the run.
_OF_THE_SESSION = ("resume=", "console=")


def train(
    cfg: DictConfig,
    overrides: list[str],
    options: Mapping[str, str | None] | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> RunFolder:
    """Train as `cfg` says, and return the folder that holds the results.

    Args:
        cfg: the composed config.
        overrides: what was typed, for the record.
        options: of each config group, for the record; those of Hydra's own groups are left out.
        callbacks: besides those of `cfg`; they change nothing of the result but when it ends.

    Raises:
        LabError: naming what does not fit; nothing has been written then.
        RunInterrupted: after Ctrl-C, with the command that goes on as its message.
        RunPruned: where one of `callbacks` raised it.
    """
    check_settings(TrainConfig, cfg)
    speaker = make(cfg.console, "console", {}) if is_rank_zero() else console.Console()
    with rank_zero_reports_first(), interrupt_on_sigterm(), console.use(speaker), contextlib.ExitStack() as stack:
        before = cfg.resume or resume.requeued(cfg, overrides)
        if before is not None:
            folder = RunFolder.open(before)
            changes = [o for o in overrides if not o.startswith(_OF_THE_SESSION)] if cfg.resume else []
            cfg = resume.resumed(folder, changes)
            checkpoint = resume.last_good_checkpoint(folder)
            return _run(cfg, folder, checkpoint, folder.read_overrides() + changes, callbacks=callbacks, stack=stack)
        cfg = _with_absolute_paths(cfg)
        chosen = {group: option for group, option in (options or {}).items() if not group.startswith("hydra/")}
        return _run(cfg, None, None, overrides, chosen, callbacks, stack=stack)


def join(path: str) -> None:
    """Take part, as a process that rank 0 started, in the run in `path`."""
    end_with_parent()
    folder = RunFolder(path)
    checkpoint = folder.path / "checkpoints" / "last.ckpt"
    silent = console.Console()
    with rank_zero_reports_first(), interrupt_on_sigterm(), console.use(silent), contextlib.ExitStack() as stack:
        _run(folder.read_config(), folder, checkpoint if checkpoint.is_file() else None, [], stack=stack)


def _run(
    cfg: DictConfig,
    folder: RunFolder | None,
    checkpoint: Path | None,
    overrides: list[str],
    options: Mapping[str, str | None] | None = None,
    callbacks: Sequence[pl.Callback] = (),
    *,
    stack: contextlib.ExitStack,
) -> RunFolder:
    """Train in `folder`, or in a new one, which is held until the `stack` is closed."""
    deterministic, accelerator = bool(cfg.trainer.get("deterministic")), cfg.trainer.get("accelerator", "auto")
    stack.enter_context(deterministic_kernels(deterministic, accelerator))
    torch.set_float32_matmul_precision("high")
    keep_freed_memory()
    try:
        parts = validated(cfg)
    except LabError as error:
        raise LabError(f"{folder.path / 'config.yaml'}: {error}" if folder else str(error)) from error
    if (warning := parts.pipeline.warning) is not None:
        console.current().warning(warning)
    warn_of_lost_updates(cfg.trainer)
    if is_rank_zero():
        parts.data.prepare_data()
    source = checkpoint
    if source is None and cfg.init_from is not None:
        source = named_checkpoint(RunFolder.open(cfg.init_from), "last")
    state: dict[str, Any] = {}
    if source is not None:  # before anything is written, also where the trainer will restore them once more
        state = read_checkpoint(source)
        load_weights(parts.module, state["state_dict"], source)

    new = folder is None
    if folder is None:
        # Ranks that were not started by rank 0 (torchrun, SLURM) write nothing, and need no folder.
        outputs = cfg.paths.output_dir
        folder = RunFolder.create(outputs, cfg.name) if is_rank_zero() else RunFolder(outputs)
    try:
        trainer = make_trainer(cfg, folder, parts, callbacks)
        check_against_data(cfg, parts, trainer)
    except BaseException:
        if new and is_rank_zero():
            folder.discard()
        raise
    if not trainer.is_global_zero:
        with single_process_restored(trainer):
            _fit(cfg, trainer, parts, checkpoint)
        return folder

    stack.enter_context(folder.held())
    if not new:
        resume.remove_half_written(folder)
        resume.check_data(folder, parts.data)
        resume.go_back(folder, trainer.loggers, int(state["global_step"]) if checkpoint else 0)
    folder.write_config(cfg, overrides)
    manifest = Manifest(folder, cfg.seed)
    resume.warn_of_other_bits(manifest.content["sessions"])
    if new:
        manifest.note(options=options)
    choices = hparams.choices(cfg, overrides, manifest.content.get("options") or {})
    start = time.monotonic()
    try:
        console.current().start(start_table.table(cfg, parts, trainer, folder))
        manifest.identify(cfg, parts, trainer)
        hparams.begin(trainer.loggers, cfg, overrides, choices)
        figures_before_training(parts, folder, trainer.loggers)
        with single_process_restored(trainer):
            start_processes_with(folder, trainer, manifest)
            parts = _fit(cfg, trainer, parts, checkpoint)
        metrics = _finish(cfg, trainer, parts, folder)
        hparams.finish(trainer, choices, metrics, manifest.wall_time())
        close(trainer.loggers, "success")
    except (RunInterrupted, KeyboardInterrupt, SystemExit) as error:
        manifest.end("interrupted")
        with contextlib.suppress(Exception):
            close(trainer.loggers, "failed")
        number = getattr(error, "status", 128 + signal.SIGINT) - 128
        raise RunInterrupted(_how_to_go_on(folder, "Interrupted."), number) from error
    except RunPruned as error:
        manifest.end("pruned", error=str(error))
        with contextlib.suppress(Exception):
            close(trainer.loggers, "success")
        raise
    except BaseException as error:
        manifest.end("failed", error=" ".join(str(error).split())[:500])
        with contextlib.suppress(Exception):  # it is the first error that counts
            close(trainer.loggers, "failed")
        raise
    hashes = {"weights": weights_hash(parts.module.state_dict())}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EMA):
            hashes["ema_weights"] = weights_hash(callback.average)
    manifest.end("finished", steps=trainer.global_step, **hashes)
    summary.tell(folder, Path(cfg.paths.output_dir), metrics, time.monotonic() - start)
    return folder


def _fit(cfg: DictConfig, trainer: pl.Trainer, parts: Parts, checkpoint: Path | None) -> Parts:
    """Train, and return the parts to go on with."""
    if cfg.compile:
        compile_network(parts.network, trainer.strategy.root_device)
    trainer.fit(parts.module, datamodule=parts.data, ckpt_path=checkpoint, weights_only=True)
    if not isinstance(trainer.strategy, FullySharded):
        return parts
    weights = trainer.strategy.whole_weights()
    if not trainer.is_global_zero:
        return parts
    whole = build(cfg)
    whole.module.to(next(iter(weights.values())).dtype).load_state_dict(weights)
    return replace(whole, data=parts.data)


def _finish(cfg: DictConfig, trainer: pl.Trainer, parts: Parts, folder: RunFolder) -> dict[str, Any]:
    """Samples, figures and metrics of a run that has trained to its end."""
    # The trainer leaves the module on the CPU.
    parts.module.to(trainer.strategy.root_device)
    history = next((c for c in trainer.callbacks if isinstance(c, History)), History())  # type: ignore[attr-defined]
    sampling: dict[str, Any] = OmegaConf.to_container(cfg.sampling)  # type: ignore[assignment]
    step = trainer.global_step
    metrics: dict[str, Any] = {"step": step, "epochs": history.epochs}
    metrics |= {key: value for key, value in history.metrics.items() if key != "train/loss_step"}
    folder.write_json("metrics.json", metrics)  # should a draw or an evaluation fail, this is there
    bar = cfg.trainer.get("enable_progress_bar", True) and console.current().bar
    console.current().note(f"drawing {sampling['num_samples']} samples")
    with averaged(trainer, parts.module):
        drawn, trajectory = draw_recorded(parts.pipeline, sampling, bar)
        figures_after_training(parts, folder, trainer.loggers, history.epochs, step, drawn, trajectory)
        facts = DrawFacts(
            sampler=OmegaConf.to_container(cfg.sampler, resolve=True),  # type: ignore[arg-type]
            transforms=transforms_of(OmegaConf.to_container(cfg, resolve=True)),  # type: ignore[arg-type]
            condition=None if drawn.condition is None else drawn.condition.tolist(),
            weights="ema" if cfg.get("ema") else "raw",
            weights_hash=weights_hash(parts.module.state_dict()),
            step=step,
            num_samples=sampling["num_samples"],
            seed=sampling["seed"],
            precision="32-true",
        )
        place = folder.samples / "final.npy"
        save_draw(drawn, parts.pipeline.codec, facts, place, place.with_suffix(".json"), checkpoint="last")
    metrics |= _evaluate(cfg, parts, drawn.samples)
    folder.write_json("metrics.json", metrics)
    return metrics


def _evaluate(cfg: DictConfig, parts: Parts, samples: Tensor) -> dict[str, Any]:
    """What each entry of the group `evaluation` has to say of the samples, by its name."""
    evaluations = make(OmegaConf.to_container(cfg.evaluation, resolve=True), "evaluation", {})
    train, test = parts.data.split("train"), parts.data.split("test")
    results = {}
    for name, evaluation in evaluations.items():
        console.current().note(f"evaluation: {name}")
        result = evaluation(samples, train, test)
        results[name] = result.as_dict()
        console.current().event("evaluation", result.summary(), name=name, **results[name])
    return results


def _with_absolute_paths(cfg: DictConfig) -> DictConfig:
    """A recorded path must mean the same from another working directory."""
    with open_dict(cfg):
        for key in ("data_dir", "output_dir"):
            cfg.paths[key] = str(Path(cfg.paths[key]).expanduser().resolve())
        if cfg.init_from is not None:
            cfg.init_from = str(Path(cfg.init_from).expanduser().resolve())
    return cfg


def _how_to_go_on(folder: RunFolder, what: str) -> str:
    if not (folder.path / "checkpoints" / "last.ckpt").is_file():
        return f"{what} Nothing had been saved yet."
    return f"{what} To go on: {command_lines.resume(folder)}"
