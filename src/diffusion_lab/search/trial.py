"""Runs one trial of a search: a training run like any other, or the rest of one that an earlier worker began."""

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
from diffusion_lab.search.search_objectives import LOSSES
from diffusion_lab.search.search_spec import SearchSpec
from diffusion_lab.search.trial_attributes import PARAMETERS, RUN_FOLDER
from diffusion_lab.search.trial_callback import TrialCallback
from diffusion_lab.sweeps.compose_run import compose_run


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended.

    Attributes:
        state: ``requeued`` if it was requeued by another process, which took this one for lost.
        values: if it finished, the value of each objective.
        error: if it failed, one line that says why.
    """

    state: Literal["finished", "pruned", "failed", "interrupted", "requeued"]
    values: tuple[float, ...] = ()
    error: str = ""


def run_trial(spec: SearchSpec, trial: optuna.Trial) -> TrialOutcome:
    """Train, or resume the run of this trial. An error of the run becomes the outcome.

    Raises:
        StorageInternalError: if the storage cannot be used.
    """
    first = spec.objectives[0]
    single = len(spec.objectives) == 1  # Optuna accepts no reports for several objectives
    metric = LOSSES.get(first.metric) if single else None
    callback = TrialCallback(trial, metric, prune=single and spec.pruner != "none")
    try:
        folder = _finished_run(spec, trial) or _train(spec, trial, callback)
        parameters = trial.user_attrs[PARAMETERS]
        return TrialOutcome("finished", tuple(objective.measure(folder, parameters) for objective in spec.objectives))
    except RunPruned:
        return TrialOutcome("pruned")
    except (RunInterrupted, KeyboardInterrupt):
        return TrialOutcome("interrupted")
    except optuna.exceptions.StorageInternalError:  # not an error of the run: it can be continued
        raise
    except optuna.exceptions.UpdateFinishedTrialError:  # this process has missed too many heartbeats
        return TrialOutcome("requeued")
    except LabError as error:
        return TrialOutcome("failed", error=one_line(error))
    except Exception as error:
        traceback.print_exc()
        return TrialOutcome("failed", error=f"{type(error).__name__}: {' '.join(str(error).split())}")


def _train(spec: SearchSpec, trial: optuna.Trial, callback: TrialCallback) -> RunFolder:
    overrides = spec.overrides(trial.params)
    settings, options = compose_run([*overrides, "console=quiet"], "search")
    settings = replace(settings, paths=replace(settings.paths, output_dir=spec.outputs), name=spec.name)
    before = _previous_run(spec, trial)
    if before is not None and (before.path / "checkpoints" / "last.ckpt").is_file() and _is_unlocked(before):
        settings = settings.resuming(str(before.path))
    with contextlib.redirect_stdout(sys.stderr):
        typed = [] if settings.resume else [o for o in overrides if not o.startswith("hydra.")]
        return train(settings, typed, options, callbacks=[callback])


def _is_unlocked(folder: RunFolder) -> bool:
    """Return whether no process trains in the folder, since a worker that missed its heartbeats may still do so."""
    lock = Lock.take(folder.path)
    if lock is not None:
        lock.release()
    return lock is not None


def _finished_run(spec: SearchSpec, trial: optuna.Trial) -> RunFolder | None:
    """Return the trial's run if it has finished already, so that only its worker was lost after it; else None."""
    before = _previous_run(spec, trial)
    if before is None or before.read_manifest().get("status") != "finished":
        return None
    return before


def _previous_run(spec: SearchSpec, trial: optuna.Trial) -> RunFolder | None:
    """Return the run folder that an earlier worker began for this trial, if it lies in the search's own folder."""
    named: Any = trial.user_attrs.get(RUN_FOLDER)
    if not isinstance(named, str) or Path(named).parent != spec.folder:
        return None
    return RunFolder(named) if (Path(named) / "config.yaml").is_file() else None
