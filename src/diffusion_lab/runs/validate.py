"""A run's config, held against everything that can be known before anything is written."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from diffusion_lab.config.annotations import describe, type_hints
from diffusion_lab.config.build import Parts, build
from diffusion_lab.config.instantiate import check_arguments, checked_call, make
from diffusion_lab.config.schema import Part, ReproduceConfig, SampleConfig, SearchConfig, TrainConfig, VerifyConfig
from diffusion_lab.config.tree import options
from diffusion_lab.data import Split, count_batches
from diffusion_lab.errors import LabError, did_you_mean
from diffusion_lab.machine.hardware_check import check_hardware
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.runs.trainer import make_callbacks
from diffusion_lab.training.strategy import strategy_and_plugins

#: What a callback may wait for.
LOGGED = ("val/loss", "train/loss_epoch", "train/loss_step")
#: What the run gives its trainer, and nobody else may.
_TRAINER_PARTS = {"callbacks": None, "logger": None, "plugins": None, "default_root_dir": None}


def validated(cfg: DictConfig) -> Parts:
    """The parts of a training run; its trainer is tried out, too. Seeds the global generators for its weights.

    Raises:
        LabError: naming the first key that is misspelled, missing, of the wrong type, out of its range or at odds
            with another one.
    """
    silence_library_warnings()  # a sweep is validated before its first run begins
    node = check_settings(TrainConfig, cfg)
    # Of the precisions that Lightning takes, some are not sound here: `check_hardware` knows those that are.
    others = {key: value for key, value in node["trainer"].items() if key != "precision"}
    check_arguments(pl.Trainer, others, "trainer", _TRAINER_PARTS, _TRAINER_PARTS)
    check_hardware(node["trainer"])
    pl.seed_everything(node["seed"], verbose=False)
    parts = build(cfg)
    if node.get("ema") and node["trainer"].get("strategy") == "fsdp":
        raise LabError("ema does not go with trainer.strategy=fsdp, which cuts the weights up: take trainer=ddp")
    callbacks = make_callbacks(node, parts)
    _check_made(callbacks, "callbacks", pl.Callback)
    _check_monitors(callbacks, node["trainer"])
    _check_made(make(node["evaluation"], "evaluation", {}), "evaluation", Callable)
    checked_call(lambda: parts.module.optimizer([torch.nn.Parameter(torch.zeros(1))]), "optimizer")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the trainer that is meant will say it
        quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "deterministic": None}
        replaced, plugins = strategy_and_plugins(node["trainer"])
        trainer = checked_call(
            lambda: pl.Trainer(**{**node["trainer"], **quiet, **replaced}, plugins=plugins), "trainer"
        )
    _check_batch(parts, trainer)
    return parts


def check_settings(schema: type, cfg: DictConfig) -> dict[str, Any]:
    """Hold the keys that belong to no part against their schema, and return the config as a plain container.

    Raises:
        LabError: naming the first key that does not fit.
    """
    node: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    _settings(schema, node)
    return node


def check_against_data(cfg: DictConfig, parts: Parts, trainer: pl.Trainer) -> None:
    """Hold a config against the data, which must be there.

    Raises:
        LabError: naming a limit that leaves no batch or that no epoch reaches, or an evaluation that lacks data.
    """
    parts.data.setup()
    train, val = parts.data.train, parts.data.val
    assert train is not None
    assert val is not None

    def batches(split: Split, micro_batches: int = 1) -> int:
        cut = trainer.world_size * micro_batches
        return micro_batches * count_batches(len(split), parts.data.batch_size, cut)

    counts = {"train": batches(train, trainer.accumulate_grad_batches), "val": batches(val)}
    for name, count in counts.items():
        key = f"limit_{name}_batches"
        limit = getattr(trainer, key)
        if isinstance(limit, float) and 0 < limit * count < 1:
            raise LabError(f"trainer.{key}={limit} of {count} batches is less than one: take at least {1 / count:.3g}")
    limit, every = trainer.limit_train_batches, trainer.val_check_interval
    in_epoch = min(counts["train"], limit) if isinstance(limit, int) else int(counts["train"] * limit)
    if isinstance(every, int) and trainer.check_val_every_n_epoch is not None and every > in_epoch:
        raise LabError(
            f"trainer.val_check_interval={every}: an epoch has {in_epoch} batches; take fewer, or "
            "trainer.check_val_every_n_epoch=null to count over epochs"
        )
    for name, evaluation in make(OmegaConf.to_container(cfg.evaluation, resolve=True), "evaluation", {}).items():
        if hasattr(evaluation, "check"):
            checked_call(functools.partial(evaluation.check, train.labels), f"evaluation.{name}")


def _check_made(made: Mapping[str, Any], group: str, kind: Any) -> None:
    for name, part in made.items():
        if part is not None and not isinstance(part, kind):
            raise LabError(
                f"{group}.{name}={part}: it must be {describe(kind)}, given as a node with a _target_, or null"
            )


def _check_monitors(callbacks: Mapping[str, Any], trainer: Mapping[str, Any]) -> None:
    """A value that a callback waits for must be one that is logged."""
    for name, callback in callbacks.items():
        monitor = getattr(callback, "monitor", None)
        if monitor is None:
            continue
        if monitor not in LOGGED:
            guess = did_you_mean(monitor, LOGGED) or ","
            raise LabError(f"callbacks.{name}.monitor={monitor} is not logged{guess} choose from {', '.join(LOGGED)}")
        if monitor == "val/loss" and trainer.get("limit_val_batches") == 0:
            raise LabError(f"callbacks.{name} waits for val/loss, and trainer.limit_val_batches=0 leaves no validation")


def _check_batch(parts: Parts, trainer: pl.Trainer) -> None:
    cuts = trainer.num_devices * trainer.num_nodes * trainer.accumulate_grad_batches
    if cuts > parts.data.batch_size:
        raise LabError(
            f"data.batch_size={parts.data.batch_size} cannot be cut into {cuts} parts (trainer.devices × num_nodes × "
            "accumulate_grad_batches): it is the global batch size, so take a larger one"
        )


#: By the name of the config that a script composes.
CHECKS: dict[str, Callable[[DictConfig], Any]] = {
    "train": validated,
    "sample": functools.partial(check_settings, SampleConfig),
    "reproduce": functools.partial(check_settings, ReproduceConfig),
    "verify_resume": functools.partial(check_settings, VerifyConfig),
    "search": functools.partial(check_settings, SearchConfig),
}


def _settings(schema: type, node: Any, key: str = "") -> Any:
    """The settings object that a node describes: the fields of `schema` are its keys."""
    hints = type_hints(schema)
    for field in fields(schema):
        if hints[field.name] == Part and node.get(field.name) is None:
            raise LabError(f"{field.name} has no option: choose from {', '.join(options(field.name))}")
    nested = {name: value for name, value in node.items() if is_dataclass(hints.get(name)) and isinstance(value, dict)}
    built = {name: _settings(hints[name], value, name) for name, value in nested.items()}
    values = {**node, **built}
    check_arguments(schema, values, key, {})
    return checked_call(lambda: schema(**values), key)
