"""The database of a search: opening it by its URL, and showing the URL and errors without the password."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from diffusion_lab.errors import LabError

#: A worker is considered lost after this many missing heartbeats.
MISSING_HEARTBEATS = 6

#: Seconds that SQLite waits for another process to finish writing.
_LOCK_SECONDS = 120

#: Parts of a database's message when two processes create the same table or row at the same time.
_CREATED_TWICE = ("already exists", "unique", "duplicate")


def open_storage(url: str, heartbeat: int, on_lost: Callable[[Study, FrozenTrial], None]) -> RDBStorage:
    """Open the database, and create its tables, and for SQLite its folder, where they are missing.

    Args:
        url: the URL of the database.
        heartbeat: seconds between the heartbeats of a running trial.
        on_lost: called by Optuna, in one process only, with a trial that it has failed for missing heartbeats.

    Raises:
        LabError: if the URL is malformed, or its folder cannot be made.
        ImportError: if the driver is not installed; see `driver_hint`.
        SQLAlchemyError: if the database cannot be opened.
    """
    try:
        parsed = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise LabError(
            "search.storage must be the URL of a database, sqlite:///… or postgresql://user@host/database, or null"
        ) from error
    options: dict[str, Any] = {"pool_pre_ping": True}
    if parsed.get_backend_name() == "sqlite":
        options = {"connect_args": {"timeout": _LOCK_SECONDS}}
        if parsed.database:
            try:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LabError(
                    f"search.storage: cannot make the folder of {parsed.database}: {error.strerror}"
                ) from error
    for attempt in range(10):
        try:
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                return RDBStorage(
                    with_driver(url),
                    engine_kwargs=options,
                    heartbeat_interval=heartbeat,
                    grace_period=MISSING_HEARTBEATS * heartbeat,
                    heartbeat_stale_trial_callback=on_lost,
                )
        except sqlalchemy.exc.DBAPIError as error:
            # Two processes that start at the same time create the same tables.
            if attempt == 9 or not any(text in str(error).lower() for text in _CREATED_TWICE):
                raise
            time.sleep(0.3)
    raise AssertionError


def shown_url(url: str) -> str:
    """Return the URL with ``***`` for its password."""
    try:
        parsed = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        return "***"
    query = {key: "***" if "password" in key else value for key, value in parsed.query.items()}
    return parsed.set(query=query).render_as_string(hide_password=True).replace("%2A", "*")


def with_driver(url: str) -> str:
    """Return the URL with the installed driver for PostgreSQL; without one, SQLAlchemy 2.1 would take psycopg."""
    parsed = sqlalchemy.make_url(url)
    if parsed.drivername in ("postgresql", "postgres") and importlib.util.find_spec("psycopg") is None:
        return parsed.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    return url


def driver_hint(url: str) -> str:
    """Return how to install the driver of the URL's database."""
    backend = sqlalchemy.make_url(url).get_backend_name()
    return {"postgresql": "pip install psycopg2-binary"}.get(backend, f"see SQLAlchemy's page on {backend}")


def storage_error(url: str, error: Exception) -> LabError:
    """Return an error that says in one line, without the password, why the storage cannot be used."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    reason = " ".join(str(getattr(cause, "orig", None) or cause).split())
    secret = sqlalchemy.make_url(url).password
    reason = reason.replace(str(secret), "***") if secret else reason
    return LabError(f"search.storage={shown_url(url)} cannot be used: {reason}")
