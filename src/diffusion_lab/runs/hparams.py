"""A run's hyperparameters and final metrics for its loggers: TensorBoard's HParams table, and the config as text.

A run's row in the table lies in an event file of its own. It is written when the run has finished and removed when it
is resumed, so an unfinished run has none, and a run that was trained on has its newest.

TensorBoard shows five hyperparameters and five metrics until it is asked for more. Those that differ between the runs
come first, unless a run itself declares the columns; therefore none does. Metrics are sorted by name, capitals first.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from diffusion_lab.config.annotations import type_hints
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.targets import located
from diffusion_lab.run_folder.recorded_config import as_yaml, without_long_lists
from diffusion_lab.training.checkpoints import Checkpoints
from diffusion_lab.training.telemetry import Telemetry

#: Keys that people compare, besides those that were typed and the options of the groups; a node stands for all its
#: arguments.
COMPARED = (
    "seed",
    "data.batch_size",
    "optimizer.lr",
    "network",
    "schedule.steps",
    "sampler",
    "trainer.precision",
    "trainer.max_epochs",
    "trainer.max_steps",
)

_NOT_COMPARED = ("name", "tags", "notes", "paths", "logger", "console", "launcher")

#: Types of values in YAML, but for null. What else an annotation names, such as a tensor, cannot be typed.
_PLAIN = {int, float, bool, str, list, tuple, dict}

_SUFFIX = ".hparams"  # of the event file of a row


def hyperparameters(
    config: Mapping[str, Any], overrides: Sequence[str], options: Mapping[str, str | None]
) -> dict[str, str | int | float | bool]:
    """Return by dotted key the option of each group, the values that were typed, and those that people compare.

    Paths, names, loggers and what the terminal shows are left out.

    Args:
        config: of the run, as a plain container.
        overrides: that were typed.
        options: the option of each config group; None, where none is chosen, is written as ``none``.
    """
    chosen: dict[str, Any] = {
        group: option or "none" for group, option in sorted(options.items()) if group not in _NOT_COMPARED
    }
    named = [match[1] for text in overrides if (match := re.match(r"[+~]*([^=]+)", text))]
    typed = [key for key in named if key not in options]  # the option of a group is there already
    for key in (*COMPARED, *typed):
        if key.partition(".")[0] not in _NOT_COMPARED:
            chosen |= _select(config, key)
    columns = {key: _of_one_type(key, value, config) for key, value in chosen.items()}
    return {key: value for key, value in columns.items() if value is not None}


def _of_one_type(key: str, value: Any, config: Mapping[str, Any]) -> str | int | float | bool | None:
    """Return a value as what every value of its key can be, since a column of the table has one type.

    Where the annotation allows numbers alone, or true and false alone, null is left out (None). Other values are texts;
    without an annotation they stay as they are.
    """
    kinds = {get_origin(kind) or kind for kind in _members(_hint(key, config))} & _PLAIN
    if not kinds or kinds <= {int, float} or kinds == {bool}:
        return None if value == "null" else value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _hint(key: str, config: Mapping[str, Any]) -> Any:
    """Return the annotation of the value under a dotted key; Any where there is none."""
    node: Any = config
    hints = type_hints(TrainConfig)
    *parents, last = key.split(".")
    for depth, name in enumerate(parents):
        hint, node = hints.get(name, Any), node.get(name) if isinstance(node, Mapping) else None
        if name == "trainer" and depth == 0:
            hints = type_hints(pl.Trainer)
        elif isinstance(node, Mapping) and "_target_" in node:
            hints = type_hints(located(key, node["_target_"]))
        else:
            hints = type_hints(hint) if isinstance(hint, type) and is_dataclass(hint) else {}
    return hints.get(last, Any)


def _members(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the types of a literal's values; else the annotation itself."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return tuple(member for argument in arguments for member in _members(argument))
    return tuple(map(type, arguments)) if origin is Literal else (hint,)


def log_config(
    loggers: Iterable[Any], config: Mapping[str, Any], overrides: Sequence[str], chosen: Mapping[str, Any]
) -> None:
    """Log the hyperparameters that were chosen and, in TensorBoard, the config and the overrides as text."""
    for logger in loggers:
        logger.log_hyperparams(dict(chosen))
        if isinstance(logger, TensorBoardLogger):
            _remove_row(logger)
            logger.experiment.add_text("config/resolved", f"```yaml\n{as_yaml(without_long_lists(config)[0])}```", 0)
            typed = "\n".join(overrides) or "(nothing: all defaults)"
            logger.experiment.add_text("config/overrides", f"```\n{typed}\n```", 0)


def log_results(trainer: pl.Trainer, chosen: Mapping[str, Any], metrics: Mapping[str, Any], wall_time: float) -> None:
    """Log the final metrics of a finished run; in TensorBoard, as its row of the HParams table.

    Args:
        trainer: after training.
        chosen: the run's `hyperparameters`.
        metrics: the content of `metrics.json`.
        wall_time: in seconds.
    """
    final = _final(trainer, metrics, wall_time)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            _write_row(logger, chosen, final, trainer.global_step)
        elif not isinstance(logger, CSVLogger):  # metrics.json lies beside its file
            logger.log_metrics(final, trainer.global_step)


def _final(trainer: pl.Trainer, metrics: Mapping[str, Any], wall_time: float) -> dict[str, float]:
    final: dict[str, float] = {"Final/wall_time_s": wall_time}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Telemetry) and callback.seconds:
            final[f"Final/speed_{callback.item}s_per_s"] = callback.seen / callback.seconds
        if isinstance(callback, Checkpoints) and math.isfinite(callback.best_loss):
            final["Final/loss_best_val"] = callback.best_loss
    for name, key in (("Final/loss_train", "train/loss"), ("Final/loss_val", "val/loss")):
        measured = [row[key] for row in metrics["epochs"] if key in row]
        if measured:
            final[name] = measured[-1]
    for evaluation, numbers in metrics.items():
        if isinstance(numbers, Mapping):
            final[f"Final/{evaluation}"] = next(iter(numbers.values()))  # an evaluation's first number is its main one
            found = {name: number for name, number in numbers.items() if isinstance(number, int | float)}
            final |= {f"evaluation/{evaluation}/{name}": number for name, number in found.items()}
    return final


def _write_row(logger: TensorBoardLogger, chosen: Mapping[str, Any], final: Mapping[str, float], step: int) -> None:
    from torch.utils.tensorboard import FileWriter
    from torch.utils.tensorboard.summary import hparams, scalar

    _, start, end = hparams(dict(chosen), dict(final))  # the first would declare the columns
    writer = FileWriter(logger.log_dir, filename_suffix=_SUFFIX)
    writer.add_summary(start)
    for name, value in final.items():
        writer.add_summary(scalar(name, value), step)
    writer.add_summary(end)
    writer.close()


def _remove_row(logger: TensorBoardLogger) -> None:
    for path in Path(logger.log_dir).glob(f"events.out.tfevents.*{_SUFFIX}"):
        path.unlink()


def _leaves(key: str, value: Any) -> dict[str, str | int | float | bool]:
    if isinstance(value, Mapping):
        named = ((f"{key}.{name}", part) for name, part in value.items() if not name.startswith("_"))
        return {k: v for name, part in named for k, v in _leaves(name, part).items()}
    if isinstance(value, str | int | float):
        return {key: value}
    return {key: "null" if value is None else str(value)}


def _select(node: Any, key: str) -> dict[str, str | int | float | bool]:
    """Return the values at and below a dotted key; none if there is no such key."""
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return {}
        node = node[name]
    return _leaves(key, node)
