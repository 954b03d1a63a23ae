"""The Optuna study of a search, which all its workers share: asking for trials, heartbeats, and lost workers."""

from __future__ import annotations

import contextlib
import copy
import os
import platform
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from diffusion_lab.errors import LabError
from diffusion_lab.search.optuna_samplers import make_pruner, make_sampler
from diffusion_lab.search.search_spec import SearchSpec
from diffusion_lab.search.storage import MISSING_HEARTBEATS, driver_hint, open_storage, shown_url, storage_error
from diffusion_lab.search.trial_attributes import (
    LOST,
    SEARCH,
    SURPLUS,
    WORKER,
    first_number,
    history,
    requeue_trial,
)

#: A trial that has lost this many workers is not tried again.
_MAX_LOST = 3

#: Overrides that may differ between the sessions of a search, since they do not affect results.
_MACHINE_OVERRIDES = (
    "paths.",
    "hydra.searchpath=",
    "trainer.accelerator=",
    "trainer.devices=",
    "trainer=cpu",
    "trainer=gpu",
    "trainer=mps",
)

#: Raised by Optuna where another process has ended the trial first: as it reads the trial, or as it writes it.
_ENDED_BY_ANOTHER = (ValueError, UpdateFinishedTrialError)

#: What each part of the study attribute `SEARCH` is called in messages.
_PART_NAMES = {"space": "search.space", "objectives": "search.objectives", "typed": "config for all its trials"}


class SharedStudy:
    """The study of a search, as one of its processes uses it.

    Args:
        spec: the search. If its storage has no study of this name yet, one is created.

    Attributes:
        study: Optuna's study.

    Raises:
        LabError: if the storage cannot be used, or contains a different search of this name.
    """

    def __init__(self, spec: SearchSpec) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.spec = spec
        self._first_seen: dict[int, float] = {}
        try:
            self._storage = open_storage(spec.storage, spec.heartbeat, _requeue_lost_trial)
            self.study = optuna.create_study(
                storage=self._storage,
                study_name=spec.name,
                directions=[objective.direction for objective in spec.objectives],
                sampler=make_sampler(spec.sampler, spec.seed, spec.dimensions),
                pruner=make_pruner(spec.pruner),
                load_if_exists=True,
            )
        except ImportError as error:
            raise LabError(
                f"search.storage={shown_url(spec.storage)} needs a driver: {driver_hint(spec.storage)}"
            ) from error
        except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
            raise storage_error(spec.storage, error) from error
        try:
            self._check_same_search()
        except LabError:
            self.close()
            raise

    def trials(self) -> list[FrozenTrial]:
        """Return the trials that count, by their first number; of a requeued trial, the newest one."""
        trials = self.study.get_trials(deepcopy=False)
        replaced = {number for trial in trials for number in history(trial)}
        counted = [t for t in trials if t.number not in replaced and SURPLUS not in t.user_attrs]
        return sorted(counted, key=first_number)

    def is_over(self) -> bool:
        """Return whether `n_trials` trials have ended."""
        return sum(trial.state.is_finished() for trial in self.trials()) >= self.spec.n_trials

    def ask(self) -> optuna.Trial | None:
        """Return a trial to run, with its first heartbeat recorded; None while other workers run all that are left."""
        self.requeue_lost_trials()
        trials = self.trials()
        full = len(trials) >= self.spec.n_trials and not any(t.state == TrialState.WAITING for t in trials)
        if full or self.is_over():
            return None
        # Optuna warns that heartbeats are only sent in study.optimize; here, `heartbeats` sends them.
        with warnings.catch_warnings(action="ignore"):
            trial = self.study.ask({d.key: d.distribution() for d in self.spec.dimensions})
        self._storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr(WORKER, f"{platform.node()}:{os.getpid()}")
        counted = self.trials()
        place = [t.number for t in counted].index(trial.number)
        if place >= self.spec.n_trials and not history(counted[place]):
            # Another worker has asked for the last trial at the same time.
            trial.set_user_attr(SURPLUS, True)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        return trial

    @contextlib.contextmanager
    def heartbeats(self, trial: optuna.Trial) -> Iterator[None]:
        """Record the trial's heartbeats in a thread while the block runs."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(self.spec.heartbeat):
                # A server may be unreachable for a moment.
                with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError, StorageInternalError):
                    self._storage.record_heartbeat(trial._trial_id)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def requeue(self, number: int) -> None:
        """Queue a running trial again, so that the next worker that asks for a trial continues it.

        Does nothing if another process has ended or requeued the trial already.
        """
        with contextlib.suppress(*_ENDED_BY_ANOTHER):
            self.study.tell(number, state=TrialState.FAIL)
            requeue_trial(self.study, self.study.trials[number])

    def requeue_lost_trials(self) -> None:
        """Requeue the trials of lost workers, which have missed too many heartbeats."""
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            optuna.storages.fail_stale_trials(self.study)
        # Optuna never considers a trial stale that has had no heartbeat at all, because its worker was killed right
        # after asking for it. A living worker records its name a moment after it asked.
        now = time.monotonic()
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if WORKER not in trial.user_attrs:
                since = self._first_seen.setdefault(trial.number, now)
                if now - since > MISSING_HEARTBEATS * self.spec.heartbeat:
                    self.requeue(trial.number)

    def close(self) -> None:
        """Close the connection to the storage."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _check_same_search(self) -> None:
        """Record what defines the search in the study, or compare it with what is recorded there."""
        parts = {
            "space": self.spec.space,
            "objectives": [f"{o.direction} {o.label}" for o in self.spec.objectives],
            "typed": sorted(o for o in self.spec.fixed if not o.startswith(_MACHINE_OVERRIDES)),
        }
        recorded = self.study.user_attrs.get(SEARCH)
        if recorded is None:
            self.study.set_user_attr(SEARCH, parts)
            return
        for part, now in parts.items():
            before = recorded.get(part)
            if before != now:
                raise LabError(
                    f"search.name={self.spec.name}: there is a search of this name already, with another "
                    f"{_PART_NAMES[part]} ({_as_text(before)}; now {_as_text(now)}): choose another search.name, or "
                    "use the same values as before"
                )


def _requeue_lost_trial(study: Study, trial: FrozenTrial) -> None:
    """Requeue a trial whose worker was lost, unless it has lost too many. Optuna calls this, in one process only."""
    lost = copy.deepcopy(trial)
    lost.user_attrs[LOST] = lost.user_attrs.get(LOST, 0) + 1
    if lost.user_attrs[LOST] < _MAX_LOST and SURPLUS not in lost.user_attrs:
        requeue_trial(study, lost)


def _as_text(content: Any) -> str:
    if isinstance(content, dict):
        content = [f"{key}: {value}" for key, value in content.items()]
    return ", ".join(map(str, content or [])) or "nothing"
