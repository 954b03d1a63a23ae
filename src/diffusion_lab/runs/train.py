"""One training run, from a composed config to a folder of results."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from diffusion_lab.config.build import Parts, build
from diffusion_lab.config.instantiate import make
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.runs.checks import check_hardware, warn_of_divergence
from diffusion_lab.runs.folder import RunFolder
from diffusion_lab.runs.load import build_recorded, load_weights, named_checkpoint, trusted
from diffusion_lab.runs.manifest import Manifest, weights_hash
from diffusion_lab.runs.report import figures_after_training, figures_before_training
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint
from diffusion_lab.training.history import History

#: Set for the processes that a run starts: they join its folder instead of composing a config of their own.
CHILD_OF = "DIFFUSION_LAB_CHILD_OF"

#: What may be changed when a run is resumed.
RESUMABLE = ("trainer.max_epochs", "trainer.max_steps")


def train(cfg: DictConfig, overrides: list[str]) -> RunFolder:
    """Train as `cfg` says, and return the folder that holds the results.

    Args:
        cfg: the composed config.
        overrides: what was typed, for the record.

    Raises:
        LabError: naming what does not fit; nothing has been written then.
        RunInterrupted: after Ctrl-C, with the command that goes on as its message.
    """
    if cfg.resume is not None:
        folder = RunFolder.open(cfg.resume)
        cfg = _resumed(folder, overrides)
        return _run(cfg, folder, named_checkpoint(folder, "last"))
    cfg = _with_absolute_paths(cfg)
    return _run(cfg, None, None, overrides)


def join(path: str) -> None:
    """Take part, as a process that rank 0 started, in the run in `path`."""
    folder = RunFolder(path)
    checkpoint = folder.path / "checkpoints" / "last.ckpt"
    _run(folder.read_config(), folder, checkpoint if checkpoint.is_file() else None)


def _run(
    cfg: DictConfig, folder: RunFolder | None, checkpoint: Path | None, overrides: list[str] | None = None
) -> RunFolder:
    _calm()
    check_hardware(cfg.trainer)
    warn_of_divergence(cfg)
    pl.seed_everything(cfg.seed, verbose=False)
    parts = build(cfg) if folder is None else build_recorded(cfg, folder)
    if _is_rank_zero():
        parts.data.prepare_data()
    if cfg.init_from is not None and checkpoint is None:
        source = named_checkpoint(RunFolder.open(cfg.init_from), "last")
        load_weights(parts.module, read_checkpoint(source)["state_dict"], source)

    new = folder is None
    if folder is None:
        # Ranks that were not started by rank 0 (torchrun, SLURM) write nothing, and need no folder.
        outputs = cfg.paths.output_dir
        folder = RunFolder.create(outputs, cfg.name) if _is_rank_zero() else RunFolder(outputs)
    try:
        trainer = _trainer(cfg, folder, parts)
    except BaseException:
        if new and _is_rank_zero():
            shutil.rmtree(folder.path)
        raise
    if not trainer.is_global_zero:
        _fit(cfg, trainer, parts, checkpoint)
        return folder

    if new:
        folder.write_config(cfg, overrides or [])
    manifest = Manifest(folder, cfg.seed)
    print(f"Run folder: {_shown(folder.path)}", flush=True)
    try:
        manifest.note(data=parts.data.fingerprint())
        figures_before_training(parts, folder, trainer.loggers)
        with _children_join(folder):
            _fit(cfg, trainer, parts, checkpoint)
        facts = _finish(cfg, trainer, parts, folder)
    except (RunInterrupted, KeyboardInterrupt, SystemExit) as error:
        manifest.end("interrupted")
        raise RunInterrupted(_how_to_go_on(folder, "Interrupted.")) from error
    except BaseException as error:
        manifest.end("failed", error=" ".join(str(error).split())[:500])
        raise
    manifest.end("finished", **facts)
    return folder


def _is_rank_zero() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


def _trainer(cfg: DictConfig, folder: RunFolder, parts: Parts) -> pl.Trainer:
    node: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    place = {"save_dir": str(folder.path), "pipeline": parts.pipeline}
    callbacks = make(node["callbacks"], "callbacks", place)
    loggers = make(node["logger"], "logger", place)
    filled = {
        "callbacks": [callback for callback in callbacks.values() if callback is not None],
        "logger": [logger for logger in loggers.values() if logger is not None] or False,
        "default_root_dir": str(folder.path),
        "plugins": [AtomicCheckpointIO()],
    }
    return make({"_target_": "pytorch_lightning.Trainer", **node["trainer"]}, "trainer", filled)


def _fit(cfg: DictConfig, trainer: pl.Trainer, parts: Parts, checkpoint: Path | None) -> None:
    if cfg.compile:
        _compile(parts)
    trainer.fit(parts.module, datamodule=parts.data, ckpt_path=checkpoint, weights_only=True)


def _finish(cfg: DictConfig, trainer: pl.Trainer, parts: Parts, folder: RunFolder) -> dict[str, Any]:
    """Samples, figures and metrics of a run that has trained to its end."""
    # The trainer leaves the module on the CPU.
    parts.module.to(trainer.strategy.root_device)
    epochs = next((c.epochs for c in trainer.callbacks if isinstance(c, History)), [])  # type: ignore[attr-defined]
    sampling: dict[str, Any] = OmegaConf.to_container(cfg.sampling)  # type: ignore[assignment]
    step = trainer.global_step
    samples = figures_after_training(parts, folder, trainer.loggers, epochs, step, sampling)

    metrics: dict[str, Any] = {"step": step, "epochs": epochs}
    metrics |= {key: float(v) for key, v in trainer.callback_metrics.items() if key != "train/loss_step"}
    evaluation = make(OmegaConf.to_container(cfg.evaluation, resolve=True) or {}, "evaluation", {})
    if "recognition" in evaluation:
        recognition = evaluation["recognition"]
        train, test = parts.data.train, parts.data.test
        assert train is not None
        assert test is not None
        print("Asking a classifier what it sees in the samples", flush=True)
        result = recognition(samples, (train.normalized(), train.labels), (test.normalized(), test.labels))
        metrics["recognition"] = result.as_dict()
        print(
            f"Read with more than {recognition.threshold:.0%} confidence: {result.samples:.0%} of {len(samples)} "
            f"samples ({result.classes} classes among them), {result.real:.0%} of {len(test)} held-out real images, "
            f"{result.shuffled:.0%} of those with shuffled pixels"
        )
    folder.write_json("metrics.json", metrics)
    for logger in trainer.loggers:
        logger.finalize("success")
    print(_summary(folder, epochs))
    return {"steps": step, "weights": weights_hash(parts.module)}


def _resumed(folder: RunFolder, overrides: list[str]) -> DictConfig:
    """The config of the run in `folder`, with what may be changed of it."""
    cfg = trusted(folder.read_config(), folder.path / "config.yaml")
    changes = [override for override in overrides if not override.startswith("resume=")]
    for change in changes:
        if change.split("=")[0] not in RESUMABLE:
            raise LabError(
                f"{change}: a resumed run goes on with its own config, of which only {' and '.join(RESUMABLE)} "
                "can be changed; to start a new run from its weights, use init_from"
            )
    if not changes and folder.read_json("manifest.json").get("status") == "finished":
        raise LabError(
            f"{folder.path} has finished its training; raise trainer.max_epochs (it was {cfg.trainer.max_epochs}) "
            "to train on"
        )
    cfg = OmegaConf.merge(cfg, OmegaConf.from_dotlist(changes))  # type: ignore[assignment]
    if changes:
        folder.write_config(cfg, list(OmegaConf.load(folder.path / "overrides.yaml")) + changes)
    return cfg


def _with_absolute_paths(cfg: DictConfig) -> DictConfig:
    """A recorded path must mean the same from another working directory."""
    with open_dict(cfg):
        for key in ("data_dir", "output_dir"):
            cfg.paths[key] = str(Path(cfg.paths[key]).expanduser().resolve())
        if cfg.init_from is not None:
            cfg.init_from = str(Path(cfg.init_from).expanduser().resolve())
    return cfg


def _compile(parts: Parts) -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        print(
            "compile=true: no C++ compiler was found, so the network runs uncompiled (install g++)",
            flush=True,
        )
        return
    # In place, so that the names of the weights stay what they are.
    parts.network.compile()


@contextlib.contextmanager
def _children_join(folder: RunFolder) -> Iterator[None]:
    """Processes that the trainer starts meanwhile take part in this run, whatever argv says (`-m` included).

    Afterwards nothing is left of them: the next job of a sweep may have another number of processes.
    """
    environment = dict(os.environ)
    os.environ[CHILD_OF] = str(folder.path)
    try:
        yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(environment)


def _calm() -> None:
    """Silence what a user can do nothing about."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*|lightning_fabric\..*", category=FutureWarning)
    # The data is in memory, and gathered faster than a worker process could hand it over.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # A log of every 50th step of an epoch of 10 has no rows, and the epoch's own row still tells its loss.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    torch.set_float32_matmul_precision("high")


def _how_to_go_on(folder: RunFolder, what: str) -> str:
    if not (folder.path / "checkpoints" / "last.ckpt").is_file():
        return f"{what} Nothing had been saved yet."
    return f"{what} To go on: python scripts/train.py resume={_shown(folder.path)}"


def _summary(folder: RunFolder, epochs: list[dict[str, float]]) -> str:
    shown = _shown(folder.path)
    lines = [""]
    if epochs:
        lines.append("  ".join(f"{key} {value:.4f}" for key, value in epochs[-1].items() if "loss" in key))
    names = ", ".join(sorted(path.name for path in folder.figures.iterdir()))
    lines += [
        f"Figures in {shown}/figures: {names}",
        f"More samples:  python scripts/sample.py run_dir={shown} num_samples=64 seed=7",
        "Watch:         tensorboard --logdir outputs",
    ]
    return "\n".join(lines)


def _shown(path: Path) -> str:
    """Relative to where the user stands, where that is shorter."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
