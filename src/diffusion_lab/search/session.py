"""A session of a search, which is one start of scripts/search.py: starts workers, shows progress and the result.

The workers are separate processes, so a trial that crashes its process ends neither the search nor the session. They
share only the storage, and so do the workers of other sessions, on this machine or on others.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optuna.exceptions import StorageInternalError

from diffusion_lab import console
from diffusion_lab.config.instantiate import make_one
from diffusion_lab.config.schema import SearchConfig
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.cores_and_gpus import cores, gpus, needs
from diffusion_lab.machine.ranks import interrupt_on_sigterm
from diffusion_lab.machine.resource_pool import Pool
from diffusion_lab.run_folder import command_lines
from diffusion_lab.search import search_report
from diffusion_lab.search.search_spec import SearchSpec, check_space, read_spec
from diffusion_lab.search.storage import MISSING_HEARTBEATS, shown_url, storage_error
from diffusion_lab.search.study import SharedStudy
from diffusion_lab.search.trial_table import TrialTable, progress

#: How many workers of a session that were killed are replaced.
_MAX_REPLACED = 5

#: Seconds between readings of the storage, and between checks of the workers.
_READ_SECONDS, _CHECK_SECONDS = 1.0, 0.2


def search(settings: SearchConfig, typed: Sequence[str]) -> None:
    """Run the search that `settings` describe, and show its result.

    Args:
        settings: read from the config composed from conf/search.yaml.
        typed: the overrides on the command line.

    Raises:
        LabError: if a key is invalid, before anything is written; or if all workers have failed.
        RunInterrupted: after Ctrl-C; the message contains the command that continues the search.
    """
    with console.use(make_one(settings.console, "console", console.Console)):
        spec = read_spec(settings, typed)
        check_space(spec)
        shared = SharedStudy(spec)
        try:
            console.current().start(
                search_report.start_rows(spec, settings.search.workers, progress(spec, shared.trials()))
            )
            search_report.warn_of_unused_pruner(spec)
            with worker_environments(settings.trainer, settings.search.workers) as environments:
                _run_workers(spec, shared, environments)
            search_report.show_result(spec, shared)
        except StorageInternalError as error:
            raise storage_error(spec.storage, error) from error
        finally:
            shared.close()


@contextlib.contextmanager
def worker_environments(trainer: Any, count: int) -> Iterator[list[dict[str, str]]]:
    """Yield the environment variables that give each worker an equal part of the cores, and GPUs of its own.

    The GPUs are taken from the machine's pool while the block runs.

    Args:
        trainer: the config node `trainer`, which is the same for all trials.
        count: how many workers there are. A single worker gets the resources of a single run.

    Raises:
        LabError: if too few GPUs are free.
    """
    if count == 1:
        yield [{}]
        return
    available = gpus(torch.cuda.device_count())
    need = needs(trainer, max(1, cores() // count), available)
    threads = {} if need.threads is None else {"OMP_NUM_THREADS": str(need.threads)}
    if not need.count or need.named:
        yield [threads] * count
        return
    token_by_identity = {gpu.identity: gpu.token for gpu in need.gpus}
    wanted = need.count * count
    taken = None
    if wanted <= len(token_by_identity):
        taken = Pool().take("gpu", list(token_by_identity), wanted, stopped=lambda: True, waiting=lambda: None)
    if taken is None:
        raise LabError(
            f"search.workers={count}: the workers need {wanted} GPUs, but fewer of this machine's "
            f"{len(token_by_identity)} are free; use fewer workers, or trainer.accelerator=cpu"
        )
    tokens = [token_by_identity[identity] for identity in taken]
    parts = [tokens[index : index + need.count] for index in range(0, wanted, need.count)]
    try:
        yield [{**threads, "CUDA_VISIBLE_DEVICES": ",".join(part)} for part in parts]
    finally:
        for lock in taken.values():
            lock.release()


@dataclass
class _Worker:
    number: int
    process: subprocess.Popen[str]
    log: Path

    def last_line(self) -> str:
        """Return the last line of its log, or its exit status if the log is empty."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        lines = [line for line in text.split("\n") if line.strip()]
        return lines[-1].removeprefix("Error: ") if lines else f"status {self.process.returncode}"


def _run_workers(spec: SearchSpec, shared: SharedStudy, environments: Sequence[Mapping[str, str]]) -> None:
    """Start the workers, and show the trials until all workers have ended."""
    table = TrialTable(spec, shared.study)
    table.skip_ended(shared.trials())
    if shared.is_over():
        return
    # A shell script starts its background jobs with SIGINT ignored, and `kill -INT` should still stop them.
    previous_handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    workers = [_start_worker(spec, number, environment) for number, environment in enumerate(environments, 1)]
    try:
        with interrupt_on_sigterm():
            _watch_workers(spec, shared, workers, environments, table)
    except (KeyboardInterrupt, RunInterrupted) as interruption:
        table.close()
        _stop_workers(workers)
        done = progress(spec, shared.trials())
        shown = [_without_password(argument, spec) for argument in sys.argv[1:]]
        text = f"Interrupted: {done}. To go on: {command_lines.typed('search', shown)}"
        number = getattr(interruption, "status", 128 + signal.SIGINT) - 128
        raise RunInterrupted(text, number) from interruption
    finally:
        table.close()
        signal.signal(signal.SIGINT, previous_handler)
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
            if worker.log.is_file() and not worker.log.stat().st_size:
                worker.log.unlink()
        with contextlib.suppress(OSError):
            (spec.folder / "workers").rmdir()


def _watch_workers(
    spec: SearchSpec,
    shared: SharedStudy,
    workers: list[_Worker],
    environments: Sequence[Mapping[str, str]],
    table: TrialTable,
) -> None:
    """Update the table until all workers have ended, and replace those that are killed.

    Raises:
        LabError: if all workers have ended before the search was over.
    """
    replaced, read = 0, 0.0
    while True:
        alive = [worker for worker in workers if worker.process.poll() is None]
        if time.monotonic() - read >= _READ_SECONDS or not alive:
            table.update(shared.trials())
            read = time.monotonic()
        for worker in list(workers):
            status = worker.process.returncode
            if status is not None and status < 0 and replaced < _MAX_REPLACED and not shared.is_over():
                table.close()
                replaced += 1
                delay = console.duration(MISSING_HEARTBEATS * spec.heartbeat)
                text = (
                    f"worker {worker.number} was ended by {signal.Signals(-status).name}; another one replaces it, and "
                    f"its trial continues in {delay}"
                )
                console.current().event("worker_lost", text, worker=worker.number, signal=-status)
                environment = environments[worker.number - 1]
                workers[workers.index(worker)] = _start_worker(spec, worker.number, environment)
        if not any(worker.process.poll() is None for worker in workers):
            break
        time.sleep(_CHECK_SECONDS)
    table.update(shared.trials())
    if not shared.is_over():
        failed = next((worker for worker in workers if worker.process.returncode), workers[0])
        raise LabError(
            f"no worker is left; worker {failed.number} ended with: {failed.last_line()} "
            f"(its log is {command_lines.shown(failed.log)}; the same command continues the search)"
        )


def _start_worker(spec: SearchSpec, number: int, environment: Mapping[str, str]) -> _Worker:
    logs = spec.folder / "workers"
    logs.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    log = logs / f"{now}_{platform.node()}_{os.getpid()}_{number}.log"
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "diffusion_lab.search.worker"],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            env={**os.environ, **environment},
            encoding="utf-8",
            start_new_session=True,  # the terminal sends Ctrl-C to the session alone, which forwards it
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # if it has ended at once, its log says why
        stdin.write(f"{spec.as_json()}\n{os.getpid()}\n")
    return _Worker(number, process, log)


def _stop_workers(workers: Sequence[_Worker]) -> None:
    """Interrupt the workers, and wait until they have saved; on a second Ctrl-C, stop them at once."""
    print("\nStopping after the current steps; Ctrl-C again stops at once.", file=sys.stderr, flush=True)
    for _ in range(2):
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGINT)
        try:
            for worker in workers:
                worker.process.wait()
            return
        except (KeyboardInterrupt, RunInterrupted):
            continue
    deadline = time.monotonic() + 10.0
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        for worker in workers:
            worker.process.wait(max(0.1, deadline - time.monotonic()))


def _without_password(argument: str, spec: SearchSpec) -> str:
    """Return a command-line argument with ``***`` for the password in the storage's URL."""
    key, _, value = argument.partition("=")
    if not key.endswith("search.storage"):
        return argument
    if "${" not in value:
        return f"{key}={shown_url(spec.storage)}"
    # The name of an environment variable is shown, which is no secret.
    return re.sub(r"(//[^/:@]*:|password=)(?!\$\{)[^@&\s'\"]+", r"\1***", argument)
