"""Checks of a training run's settings, before anything is written."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch

from diffusion_lab.config.annotations import describe
from diffusion_lab.config.build import Parts, build
from diffusion_lab.config.instantiate import check_arguments, checked_call
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.tree import option_of
from diffusion_lab.config.value_checks import at_least
from diffusion_lab.data import Split, count_batches
from diffusion_lab.errors import LabError, did_you_mean
from diffusion_lab.evaluation import Evaluation
from diffusion_lab.machine.available_memory import check_samples_fit
from diffusion_lab.machine.hardware_check import check_hardware
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.runs.evaluation_options import with_common_options
from diffusion_lab.runs.evaluations import check_evaluated_parts, check_evaluations, make_evaluations
from diffusion_lab.runs.preflight import check_parts_fit
from diffusion_lab.runs.trainer import make_callbacks
from diffusion_lab.training.periodic_evaluation import PeriodicEvaluation
from diffusion_lab.training.strategy import strategy_and_plugins
from diffusion_lab.training.time_limit import seconds

#: Arguments that the run itself gives its trainer, and that a config may not give.
_TRAINER_PARTS = {"callbacks": None, "logger": None, "plugins": None, "default_root_dir": None}


def validated(settings: TrainConfig) -> Parts:
    """Build the parts of a training run and check its settings; a trainer is made, too, and thrown away.

    The global generators are seeded: initial weights follow from them.

    Raises:
        LabError: naming the first key that is misspelled, missing, of the wrong type, out of its range or at odds
            with another one.
    """
    silence_library_warnings()  # a sweep is validated before its first run begins
    # Not every precision that Lightning takes is sound here: `check_hardware` knows those that are.
    others = {key: value for key, value in settings.trainer.items() if key != "precision"}
    check_arguments(pl.Trainer, others, "trainer", _TRAINER_PARTS, _TRAINER_PARTS)
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes"):  # Lightning divides by them
        if (count := settings.trainer.get(name)) is not None:
            checked_call(functools.partial(at_least, 1, f"trainer.{name}", count), "trainer")
    checked_call(lambda: seconds(settings.trainer.get("max_time")), "trainer")
    check_hardware(settings.trainer)
    pl.seed_everything(settings.seed, verbose=False)
    parts = build(settings)
    if settings.ema and settings.trainer.get("strategy") == "fsdp":
        raise LabError(
            "ema does not go with trainer.strategy=fsdp, which cuts the weights up: take trainer=ddp, or ema=none"
        )
    callbacks = make_callbacks(settings, parts)
    _check_made(callbacks, "callbacks", pl.Callback)
    _check_monitors(callbacks, settings.trainer, parts.module.objective.units)
    evaluations = make_evaluations(settings)
    _check_made(evaluations, "evaluation", Evaluation)
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((1,), (1, 1))]
    optimizer = checked_call(lambda: parts.module.optimizer(weights), "optimizer")
    if getattr(optimizer, "whole_weights", False) and settings.trainer.get("strategy") == "fsdp":
        name = option_of("optimizer", settings.optimizer)
        raise LabError(
            f"optimizer={name} does not go with trainer.strategy=fsdp, which cuts matrices up: take trainer=ddp, "
            "or optimizer=adamw"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run's own trainer warns, too
        quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "deterministic": None}
        replaced, plugins = strategy_and_plugins(settings.trainer)
        trainer = checked_call(
            lambda: pl.Trainer(**{**settings.trainer, **quiet, **replaced}, plugins=plugins), "trainer"
        )
    _check_batch(parts, trainer)
    counts = {"sampling": settings.sampling, **{f"callbacks.{name}": made for name, made in callbacks.items()}}
    for key, made in counts.items():
        check_samples_fit(f"{key}.num_samples", getattr(made, "num_samples", 0), parts.data.shape)
    parts.data.processes = trainer.num_devices
    check_parts_fit(parts)
    check_evaluated_parts(evaluations, parts)
    return parts


def check_against_data(settings: TrainConfig, parts: Parts, trainer: pl.Trainer) -> None:
    """Check the trainer's limits and the evaluations against the data, which must be there.

    Args:
        settings: of the run.
        parts: of the run.
        trainer: of the run.

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
    asked = [settings]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, PeriodicEvaluation) and callback.every_n_epochs:
            few = {"num_samples": callback.num_samples, "seeds": callback.seeds}
            asked.append(replace(settings, evaluation=with_common_options(settings.evaluation, few)))
    for each in asked:
        check_evaluations(make_evaluations(each), lambda evaluation: evaluation.check(parts.data))


def _check_made(made: Mapping[str, Any], group: str, kind: Any) -> None:
    for name, part in made.items():
        if part is not None and not isinstance(part, kind):
            raise LabError(
                f"{group}.{name}={part}: it must be {describe(kind)}, given as a node with a _target_, or null"
            )


def _check_monitors(callbacks: Mapping[str, Any], trainer: Mapping[str, Any], terms: Iterable[str]) -> None:
    """Check that each value that a callback monitors is logged: a term of the objective, or its mean."""
    logged = [name for term in terms for name in (f"val/{term}", f"train/{term}_epoch", f"train/{term}_step")]
    for name, callback in callbacks.items():
        monitor = getattr(callback, "monitor", None)
        if monitor is None:
            continue
        if monitor not in logged:
            guess = did_you_mean(monitor, logged) or ","
            raise LabError(f"callbacks.{name}.monitor={monitor} is not logged{guess} choose from {', '.join(logged)}")
        if monitor.startswith("val/") and trainer.get("limit_val_batches") == 0:
            raise LabError(
                f"callbacks.{name} waits for {monitor}, and trainer.limit_val_batches=0 leaves no validation"
            )


def _check_batch(parts: Parts, trainer: pl.Trainer) -> None:
    cuts = trainer.num_devices * trainer.num_nodes * trainer.accumulate_grad_batches
    if cuts > parts.data.batch_size:
        raise LabError(
            f"data.batch_size={parts.data.batch_size} cannot be cut into {cuts} parts (trainer.devices × num_nodes × "
            "accumulate_grad_batches): it is the global batch size, so take a larger one"
        )
