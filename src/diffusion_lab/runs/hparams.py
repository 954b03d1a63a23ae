"""The choices of a run beside what came of them: TensorBoard's HParams, and its config as text.

A run's row of HParams lies in an event file of its own, which is written when the run has finished and removed when
it is resumed: so an unfinished run has none, and one that was trained on has its newest.

TensorBoard shows five choices and five metrics until asked for more. The choices that differ between the runs come
first, unless a run says itself which columns there are; therefore none does. Metrics come by name, capitals first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from diffusion_lab.training.checkpoints import Checkpoints
from diffusion_lab.training.telemetry import Telemetry

#: What people compare, besides what was typed and the options of the groups. A node stands for all its arguments.
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

_NO_CHOICE = ("name", "tags", "notes", "paths", "logger", "console", "launcher")

_SUFFIX = ".hparams"  # of the event file


def choices(
    cfg: DictConfig, overrides: Sequence[str], options: Mapping[str, str | None]
) -> dict[str, str | int | float | bool]:
    """What was chosen, as flat, plain values: the option of each group, what was typed, and what people compare.

    Where files lie and what is told of the run decides nothing, and is left out.

    Args:
        cfg: the composed config.
        overrides: what was typed.
        options: of each config group; ``none`` is written where there is no option.
    """
    chosen: dict[str, Any] = {
        group: option or "none" for group, option in sorted(options.items()) if group not in _NO_CHOICE
    }
    named = [match[1] for text in overrides if (match := re.match(r"[+~]*([^=]+)", text))]
    typed = [key for key in named if key not in options]  # of a group, the option has been said
    node = OmegaConf.to_container(cfg, resolve=True)
    for key in (*COMPARED, *typed):
        if key.partition(".")[0] not in _NO_CHOICE:
            chosen |= _select(node, key)
    return chosen


def begin(loggers: Iterable[Any], cfg: DictConfig, overrides: Sequence[str], chosen: Mapping[str, Any]) -> None:
    """Tell the loggers what this run is: the choices, and in TensorBoard the config and what was typed, as text."""
    for logger in loggers:
        logger.log_hyperparams(dict(chosen))
        if isinstance(logger, TensorBoardLogger):
            _remove_row(logger)
            logger.experiment.add_text("config/resolved", f"```yaml\n{OmegaConf.to_yaml(cfg, resolve=True)}```", 0)
            typed = "\n".join(overrides) or "(nothing: all defaults)"
            logger.experiment.add_text("config/overrides", f"```\n{typed}\n```", 0)


def finish(trainer: pl.Trainer, chosen: Mapping[str, Any], metrics: Mapping[str, Any], wall_time: float) -> None:
    """Put the row of a finished run into HParams; other loggers are told the final metrics.

    Args:
        trainer: after training.
        chosen: of `choices`.
        metrics: of the run, as in `metrics.json`.
        wall_time: in seconds.
    """
    final = _final(trainer, metrics, wall_time)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            _write_row(logger, chosen, final, trainer.global_step)
        elif not isinstance(logger, CSVLogger):  # metrics.json says it beside it
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
            final[f"Final/{evaluation}"] = next(iter(numbers.values()))  # what it is about
            final |= {f"evaluation/{evaluation}/{name}": number for name, number in numbers.items()}
    return final


def _write_row(logger: TensorBoardLogger, chosen: Mapping[str, Any], final: Mapping[str, float], step: int) -> None:
    from torch.utils.tensorboard import FileWriter
    from torch.utils.tensorboard.summary import hparams, scalar

    _, start, end = hparams(dict(chosen), dict(final))  # the first would say which columns there are
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
    """The leaves at and below a dotted key; none if there is no such key."""
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return {}
        node = node[name]
    return _leaves(key, node)
