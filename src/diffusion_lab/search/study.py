"""The storage that all workers of a search share: opened, counted, and cleared of what a lost worker left behind.

A trial that is taken up again is a new one in Optuna's eyes: the old one has failed, and the new one remembers its
values, its run folder and, in Optuna's own `retry_history`, its past.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import os
import platform
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from diffusion_lab.errors import LabError
from diffusion_lab.search.optuna_samplers import pruner, sampler
from diffusion_lab.search.plan import Plan

#: What of a study and a trial is kept in the storage, besides what Optuna keeps.
SEARCH, RUN_FOLDER, PARAMETERS, WORKER, ERROR, VALIDATED_AT, LOST, SURPLUS = (
    "search",
    "run_folder",
    "parameters",
    "worker",
    "error",
    "validated_at",
    "lost_workers",
    "surplus",
)

#: A worker that gives no sign of life for so many heartbeats is taken for dead.
SILENT_HEARTBEATS = 6

#: A trial whose worker was lost so many times is not tried again.
_MOST_LOST = 3

#: How long SQLite waits for another process to finish writing.
_LOCK_SECONDS = 120

#: What may differ between the sessions of a search, for it decides nothing of the result.
_OF_THE_MACHINE = ("paths.", "trainer.accelerator=", "trainer.devices=", "trainer=cpu", "trainer=gpu", "trainer=mps")

#: What Optuna says to the second one that ends a trial: as it reads the trial, or as it writes it.
_ENDED_ALREADY = (ValueError, UpdateFinishedTrialError)

#: What databases say to the second one that makes a table or its first row.
_MADE_TWICE = ("already exists", "unique", "duplicate")

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class SharedStudy:
    """One process's view of a search.

    Args:
        plan: the search.

    Attributes:
        study: Optuna's; where there is none of this name yet, it is made.

    Raises:
        LabError: if the storage cannot be reached, or holds another search under this name.
    """

    def __init__(self, plan: Plan) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.plan = plan
        self._first_seen: dict[int, float] = {}
        try:
            self._storage = _storage(plan)
            self.study = optuna.create_study(
                storage=self._storage,
                study_name=plan.name,
                directions=[objective.direction for objective in plan.objectives],
                sampler=sampler(plan.sampler, plan.seed, plan.dimensions),
                pruner=pruner(plan.pruner),
                load_if_exists=True,
            )
        except ImportError as error:
            raise LabError(
                f"search.storage={shown_url(plan.storage)} needs a driver: {_driver(plan.storage)}"
            ) from error
        except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
            raise unusable(plan, error) from error
        self._check_same_search()

    def trials(self) -> list[FrozenTrial]:
        """Those that count, each in its newest form, by its first number."""
        trials = self.study.get_trials(deepcopy=False)
        past = {number for trial in trials for number in history(trial)}
        counted = [t for t in trials if t.number not in past and SURPLUS not in t.user_attrs]
        return sorted(counted, key=first_number)

    def is_over(self) -> bool:
        """Whether as many trials have ended as were asked for."""
        return sum(trial.state in _ENDED for trial in self.trials()) >= self.plan.n_trials

    def ask(self) -> optuna.Trial | None:
        """A trial to run, whose heart beats already; None while all that are left are run by others."""
        self.take_up()
        trials = self.trials()
        full = len(trials) >= self.plan.n_trials and not any(t.state == TrialState.WAITING for t in trials)
        if full or self.is_over():
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that heartbeats are for study.optimize: ours is below
            trial = self.study.ask({d.key: d.distribution() for d in self.plan.dimensions})
        self._storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr(WORKER, f"{platform.node()}:{os.getpid()}")
        counted = self.trials()
        place = [t.number for t in counted].index(trial.number)
        if place >= self.plan.n_trials and not history(counted[place]):
            # Two workers have asked for the last one at the same moment.
            trial.set_user_attr(SURPLUS, True)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        return trial

    @contextlib.contextmanager
    def alive(self, trial: optuna.Trial) -> Iterator[None]:
        """While the block runs, the trial's heart beats."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(self.plan.heartbeat):
                # A server may be away for a moment.
                with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError, StorageInternalError):
                    self._storage.record_heartbeat(trial._trial_id)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def hand_back(self, trial: optuna.Trial) -> None:
        """A trial that its worker was asked to leave: whoever asks next takes it up."""
        with contextlib.suppress(*_ENDED_ALREADY):  # it was taken up already
            self.study.tell(trial, state=TrialState.FAIL)
            _queue(self.study, self.study.trials[trial.number])

    def take_up(self) -> None:
        """Queue the trials of workers that give no sign of life any more."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)
        # A worker that was killed between asking for a trial and its first heartbeat left one that Optuna never
        # takes for stale. A live one says who it is a moment after it asked.
        now = time.monotonic()
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if WORKER not in trial.user_attrs:
                since = self._first_seen.setdefault(trial.number, now)
                if now - since > SILENT_HEARTBEATS * self.plan.heartbeat:
                    with contextlib.suppress(*_ENDED_ALREADY):  # another worker was quicker
                        self.study.tell(trial.number, state=TrialState.FAIL)
                        _queue(self.study, self.study.trials[trial.number])

    def close(self) -> None:
        """Leave the storage."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _check_same_search(self) -> None:
        same = {
            "space": self.plan.space,
            "objectives": [f"{o.direction} {o.label}" for o in self.plan.objectives],
            "typed": sorted(o for o in self.plan.fixed if not o.startswith(_OF_THE_MACHINE)),
        }
        before = self.study.user_attrs.get(SEARCH)
        if before is None:
            self.study.set_user_attr(SEARCH, same)
            return
        for what, now in same.items():
            if before.get(what) != now:
                raise LabError(
                    f"search.name={self.plan.name}: a search of this name is there already, with another "
                    f"{_WORDS[what]} ({_said(before.get(what))}; now {_said(now)}): take another search.name, "
                    "or what it had"
                )


_WORDS = {"space": "search.space", "objectives": "search.objectives", "typed": "config for all its trials"}


def history(trial: FrozenTrial) -> list[int]:
    """The numbers that this trial had before it was taken up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return optuna.storages.RetryHeartbeatStaleTrialCallback.retry_history(trial)


def first_number(trial: FrozenTrial) -> int:
    """The number that this trial had at first, which is what people are told."""
    return min([trial.number, *history(trial)])


def shown_url(url: str) -> str:
    """A URL without what nobody should read."""
    try:
        parsed = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        return "***"
    query = {key: "***" if "password" in key else value for key, value in parsed.query.items()}
    return parsed.set(query=query).render_as_string(hide_password=True).replace("%2A", "*")


def unusable(plan: Plan, error: Exception) -> LabError:
    """The line for a storage that does not do what it should, without its password."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    reason = " ".join(str(getattr(cause, "orig", None) or cause).split())
    secret = sqlalchemy.make_url(plan.storage).password
    reason = reason.replace(str(secret), "***") if secret else reason
    return LabError(f"search.storage={shown_url(plan.storage)} cannot be used: {reason}")


def with_driver(url: str) -> str:
    """The URL with the driver that is installed: SQLAlchemy 2.1 takes psycopg for PostgreSQL, if none is named."""
    parsed = sqlalchemy.make_url(url)
    if parsed.drivername in ("postgresql", "postgres") and importlib.util.find_spec("psycopg") is None:
        return parsed.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    return url


def _storage(plan: Plan) -> RDBStorage:
    try:
        url = sqlalchemy.make_url(plan.storage)
    except sqlalchemy.exc.ArgumentError as error:
        raise LabError(
            "search.storage must be the URL of a database, sqlite:///… or postgresql://user@host/database, or null"
        ) from error
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.get_backend_name() == "sqlite":
        options = {"connect_args": {"timeout": _LOCK_SECONDS}}
        if url.database:
            try:
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LabError(f"search.storage: cannot make the folder of {url.database}: {error.strerror}") from error
    for attempt in range(10):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return RDBStorage(
                    with_driver(plan.storage),
                    engine_kwargs=options,
                    heartbeat_interval=plan.heartbeat,
                    grace_period=SILENT_HEARTBEATS * plan.heartbeat,
                    heartbeat_stale_trial_callback=_lost,
                )
        except sqlalchemy.exc.DBAPIError as error:
            # Two processes that start at the same moment make the same tables.
            if attempt == 9 or not any(word in str(error).lower() for word in _MADE_TWICE):
                raise
            time.sleep(0.3)
    raise AssertionError


def _lost(study: Study, trial: FrozenTrial) -> None:
    """Called by Optuna, in one process only, for a trial whose worker it took for dead."""
    lost = copy.deepcopy(trial)
    lost.user_attrs[LOST] = lost.user_attrs.get(LOST, 0) + 1
    if lost.user_attrs[LOST] < _MOST_LOST and SURPLUS not in lost.user_attrs:
        _queue(study, lost)


def _queue(study: Study, trial: FrozenTrial) -> None:
    left_out = (WORKER, ERROR)
    again = optuna.create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={key: value for key, value in trial.user_attrs.items() if key not in left_out},
        system_attrs={
            **trial.system_attrs,
            "failed_trial": first_number(trial),
            "retry_history": [*history(trial), trial.number],
        },
        intermediate_values=trial.intermediate_values,
    )
    study.add_trial(again)


def _driver(url: str) -> str:
    backend = sqlalchemy.make_url(url).get_backend_name()
    return {"postgresql": "pip install psycopg2-binary"}.get(backend, f"see SQLAlchemy's page on {backend}")


def _said(content: Any) -> str:
    if isinstance(content, dict):
        content = [f"{key}: {value}" for key, value in content.items()]
    return ", ".join(map(str, content or [])) or "nothing"
