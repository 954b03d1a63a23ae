"""What a notebook or a program of one's own calls: the same as the commands, with objects in the place of text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusion_lab.catalogue.find import find_runs, output_dir
from diffusion_lab.config.annotations import text_keys
from diffusion_lab.config.changes import as_changes_of_resumed
from diffusion_lab.config.overrides import check_options, own_config_dirs, readable_overrides, searchpath
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.tree import use_config_dirs
from diffusion_lab.runs.load import Run, load_run
from diffusion_lab.runs.train import train as train_run
from diffusion_lab.sweeps.compose_run import compose_run


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
    typed = overrides.split() if isinstance(overrides, str) else list(overrides)
    readable = readable_overrides(typed, text_keys(TrainConfig), sweeps=False)
    use_config_dirs(own_config_dirs(None if config_dir is None else str(config_dir), readable))
    check_options(readable)
    readable = as_changes_of_resumed(readable)
    settings, options = compose_run([*searchpath(), *readable])
    return load_run(train_run(settings, readable, options).path)


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
