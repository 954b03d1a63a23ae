"""What a notebook or a program of one's own calls: the same as the commands, with objects in the place of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from diffusion_lab.catalogue.find import find_runs, output_dir
from diffusion_lab.config.annotations import text_keys
from diffusion_lab.config.build import Parts
from diffusion_lab.config.build import build as build_parts
from diffusion_lab.config.changes import as_changes_of_resumed
from diffusion_lab.config.overrides import check_options, own_config_dirs, readable_overrides, searchpath
from diffusion_lab.config.reader_schema import SampleConfig
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.tree import use_config_dirs
from diffusion_lab.runs.load import Run
from diffusion_lab.runs.load import load_run as loaded
from diffusion_lab.runs.train import train as train_run
from diffusion_lab.sweeps.compose_run import compose_changes, compose_run


def train(overrides: str | Sequence[str] = (), config_dir: str | Path | None = None) -> Run:
    """Train as ``diffusion-lab train`` does with these overrides, and return the run.

    Args:
        overrides: ``key=value`` each, as they are typed behind the command, without what is for the shell: one text
            with blanks between them, or a list, in which a value may hold blanks.
        config_dir: a folder of one's own config files, as behind ``--config-dir``.

    Returns:
        The run: its `folder`, and `sample(num_samples, seed=…)`.

    Raises:
        LabError: naming the key that does not fit, before anything has been written; or the file that cannot be.
        RunInterrupted: after an interrupt, with the command that goes on as its message.
    """
    readable = _of_a_run(overrides, config_dir)
    settings, options = compose_run([*searchpath(), *readable])
    return loaded(train_run(settings, readable, options).path)


def build(overrides: str | Sequence[str] = (), config_dir: str | Path | None = None) -> Parts:
    """Return the parts of a run with these overrides, before any training: nothing is written.

    The weights are those with which ``train`` begins, but for ``init_from`` and ``resume``, which are not read.

    Args:
        overrides, config_dir: as for `train`.

    Returns:
        Its `data`, `process`, `network`, `module` and `pipeline`.

    Raises:
        LabError: naming the key that does not fit.
    """
    settings, _ = compose_run([*searchpath(), *_of_a_run(overrides, config_dir)])
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return build_parts(settings)


def load_run(
    path: str | Path,
    checkpoint: str = "last",
    device: str = "auto",
    changes: Mapping[str, Any] | None = None,
    weights: str = "ema",
    overrides: str | Sequence[str] = (),
    flags: str | None = None,
) -> Run:
    """Load a finished or interrupted run, or a model of another program, which is then kept as a run in outputs/.

    Args:
        path: the run folder; or a model of another program: a folder of diffusers with a UNet2DModel, a checkpoint of
            improved-diffusion or ADM, or what ``diffusion-lab export`` has written as safetensors.
        checkpoint: ``last``, ``best``, or the path of a file.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``mps`` or any other that torch knows.
        changes: merged into the run's config, level by level.
        weights: ``ema``, the average that training used, where the run keeps one; ``raw``, the weights themselves; or
            the key of an average, as ``ema_0.999``.
        overrides: of sampler, grid, guidance and clip, as they are typed behind ``diffusion-lab sample``, such as
            ``sampler=ddim sampler.num_steps=20``: one text with blanks between them, or a list.
        flags: of a checkpoint of improved-diffusion or ADM: those of its training, as ``--image_size 64 …``.

    Raises:
        LabError: naming what is missing, damaged or not to be trusted, or the key that does not fit.
    """
    typed = _readable(overrides, SampleConfig)
    check_options(typed)
    return loaded(
        path, checkpoint, device, {**(changes or {}), **(compose_changes(typed) if typed else {})}, weights, flags
    )


def records(*paths: str | Path) -> list[dict[str, Any]]:
    """Return a flat record of each run, the oldest first; ``pandas.DataFrame(records())`` is a table of them.

    A record has the run's ``folder``, ``name``, ``state``, ``tags`` and ``notes``, its config as ``config.<key>`` and
    its numbers as ``metrics.<key>``. Of a run that is damaged it has the folder and the state alone.

    Args:
        paths: run folders, folders that contain runs, or glob patterns; without any, everything in outputs/.

    Raises:
        LabError: naming a path that does not exist or contains no run.
    """
    found: list[dict[str, Any]] = []
    for run in find_runs(paths or [output_dir()]):
        record: dict[str, Any] = {"folder": str(run.path), "state": run.state}
        if run.state != "damaged":
            record |= {"name": run.name, "tags": run.tags, "notes": run.notes}
            record |= {f"config.{key}": value for key, value in run.config.items()}
            record |= {f"metrics.{key}": value for key, value in run.metrics.items()}
        found.append(record)
    return found


def _readable(overrides: str | Sequence[str], schema: type[Any]) -> list[str]:
    typed = overrides.split() if isinstance(overrides, str) else list(overrides)
    return readable_overrides(typed, text_keys(schema), sweeps=False)


def _of_a_run(overrides: str | Sequence[str], config_dir: str | Path | None) -> list[str]:
    """Return overrides of a run as Hydra reads them, and use the folders of config files that belong to them."""
    readable = _readable(overrides, TrainConfig)
    use_config_dirs(own_config_dirs(None if config_dir is None else str(config_dir), readable))
    check_options(readable)
    return as_changes_of_resumed(readable)
