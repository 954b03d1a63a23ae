"""One trial: a run like any other, or the rest of one that its worker had to leave."""

from __future__ import annotations

import contextlib
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna

from diffusion_lab.config.cli import one_line
from diffusion_lab.errors import LabError, RunInterrupted, RunPruned
from diffusion_lab.machine.file_lock import Lock
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.train import train
from diffusion_lab.search.plan import Plan, composed
from diffusion_lab.search.pruning import Watch
from diffusion_lab.search.search_objectives import LOSSES
from diffusion_lab.search.study import PARAMETERS, RUN_FOLDER


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: its values where it finished, a line where it failed."""

    state: Literal["finished", "pruned", "failed", "interrupted", "taken up"]
    values: tuple[float, ...] = ()
    error: str = ""


def run(search: Plan, trial: optuna.Trial) -> Outcome:
    """Train, or go on with what this trial has trained already. Whatever goes wrong with the run is its outcome.

    Raises:
        StorageInternalError: if the storage cannot be used.
    """
    first = search.objectives[0]
    single = len(search.objectives) == 1  # Optuna takes no reports of several objectives
    watch = Watch(trial, LOSSES.get(first.metric) if single else None, single and search.pruner != "none")
    try:
        folder = _finished(search, trial) or _train(search, trial, watch)
        parameters = trial.user_attrs[PARAMETERS]
        return Outcome("finished", tuple(objective.measured(folder, parameters) for objective in search.objectives))
    except RunPruned:
        return Outcome("pruned")
    except (RunInterrupted, KeyboardInterrupt):
        return Outcome("interrupted")
    except optuna.exceptions.StorageInternalError:  # no fault of the run's: it is taken up when the storage is back
        raise
    except optuna.exceptions.UpdateFinishedTrialError:  # this process had given no sign of life for too long
        return Outcome("taken up")
    except LabError as error:
        return Outcome("failed", error=one_line(error))
    except Exception as error:
        traceback.print_exc()
        return Outcome("failed", error=f"{type(error).__name__}: {' '.join(str(error).split())}")


def _train(search: Plan, trial: optuna.Trial, watch: Watch) -> RunFolder:
    overrides = search.overrides(trial.params)
    settings, options = composed([*overrides, "console=quiet"])
    settings = replace(settings, paths=replace(settings.paths, output_dir=search.outputs), name=search.name)
    before = _earlier(search, trial)
    if before is not None and (before.path / "checkpoints" / "last.ckpt").is_file() and _is_free(before):
        settings = replace(settings, resume=str(before.path), init_from=None)
    with contextlib.redirect_stdout(sys.stderr):
        return train(settings, [] if settings.resume else overrides, options, callbacks=[watch])


def _is_free(folder: RunFolder) -> bool:
    """Whether nobody trains in it: a worker that was silent for long may only have been asleep, as its machine was."""
    lock = Lock.take(folder.path)
    if lock is not None:
        lock.release()
    return lock is not None


def _finished(search: Plan, trial: optuna.Trial) -> RunFolder | None:
    """The run of a trial whose worker was lost when all was done but the telling."""
    before = _earlier(search, trial)
    if before is None or before.read_json("manifest.json").get("status") != "finished":
        return None
    return before


def _earlier(search: Plan, trial: optuna.Trial) -> RunFolder | None:
    """The run folder of this trial's earlier life, if it lies in the search's own folder."""
    named: Any = trial.user_attrs.get(RUN_FOLDER)
    if not isinstance(named, str) or Path(named).parent != search.folder:
        return None
    return RunFolder(named) if (Path(named) / "config.yaml").is_file() else None
