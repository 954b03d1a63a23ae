"""One start of scripts/search.py: it begins the workers, shows how far all of them are, and sums up at the end.

The workers are processes of their own, so a trial that takes its process with it ends neither the search nor what is
shown of it. They share nothing but the storage; workers of other sessions, on other machines too, are their equals.
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
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import SearchConfig
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.cores_and_gpus import cores, gpus, needs
from diffusion_lab.machine.ranks import terminable
from diffusion_lab.machine.resource_pool import Pool
from diffusion_lab.run_folder import command_lines
from diffusion_lab.search import search_report
from diffusion_lab.search.plan import Plan, check, plan
from diffusion_lab.search.study import SILENT_HEARTBEATS, SharedStudy, shown_url, unusable
from diffusion_lab.search.trial_table import Table, progress

#: How many workers that a signal ended are replaced.
_MOST_REPLACED = 5

#: How often the storage is read, and how often the workers are looked at.
_READ_SECONDS, _LOOK_SECONDS = 1.0, 0.2


def search(settings: SearchConfig, typed: Sequence[str]) -> None:
    """Search as the settings say, and tell what was found.

    Args:
        settings: of conf/search.yaml.
        typed: the overrides on the command line.

    Raises:
        LabError: naming what does not fit, before anything was written, or why no worker could go on.
        RunInterrupted: after Ctrl-C, with the command that goes on as its message.
    """
    with console.speaking(make(settings.console, "console", {})):
        what = plan(settings, typed)
        check(what)
        shared = SharedStudy(what)
        try:
            console.current().start(search_report.rows(what, settings.search.workers, progress(what, shared.trials())))
            search_report.warn(what)
            with shares_of_machine(settings.trainer, settings.search.workers) as shares:
                _run(what, shared, shares)
            search_report.end(what, shared)
        except StorageInternalError as error:
            raise unusable(what, error) from error
        finally:
            shared.close()


@contextlib.contextmanager
def shares_of_machine(trainer: Any, count: int) -> Iterator[list[dict[str, str]]]:
    """What each of `count` workers finds in its environment: its share of the cores, and GPUs of its own.

    Args:
        trainer: the config node that all trials have in common.
        count: how many workers there are; one alone has what any run has.

    Raises:
        LabError: if there are not GPUs enough that are used by nobody else.
    """
    if count == 1:
        yield [{}]
        return
    here = gpus(torch.cuda.device_count())
    need = needs(trainer, max(1, cores() // count), here)
    threads = {} if need.threads is None else {"OMP_NUM_THREADS": str(need.threads)}
    if not need.count or need.named:
        yield [threads] * count
        return
    every = {gpu.identity: gpu.token for gpu in need.gpus}
    wanted = need.count * count
    taken = None
    if wanted <= len(every):
        taken = Pool().take("gpu", list(every), wanted, stopped=lambda: True, waiting=lambda: None)
    if taken is None:
        raise LabError(
            f"search.workers={count}: they need {wanted} GPUs, and of the {len(every)} of this machine so many are not "
            "free; take fewer workers, or trainer.accelerator=cpu"
        )
    tokens = [every[identity] for identity in taken]
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

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n") if self.log.is_file() else []
        said = [line for line in lines if line.strip()]
        return said[-1].removeprefix("Error: ") if said else f"status {self.process.returncode}"


def _run(what: Plan, shared: SharedStudy, shares: Sequence[Mapping[str, str]]) -> None:
    table = Table(what, shared.study)
    table.begin(shared.trials())
    if shared.is_over():
        return
    # A script's background jobs begin deaf to SIGINT, and `kill -INT` is how one stops them.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    workers = [_start(what, number, share) for number, share in enumerate(shares, 1)]
    try:
        with terminable():
            _watch(what, shared, workers, shares, table)
    except (KeyboardInterrupt, RunInterrupted) as interruption:
        table.close()
        _stop(workers)
        done = progress(what, shared.trials())
        # The storage's URL may hold a password.
        shown = [_without_password(argument, what) for argument in sys.argv[1:]]
        text = f"Interrupted: {done}. To go on: {command_lines.typed('search', shown)}"
        number = getattr(interruption, "status", 128 + signal.SIGINT) - 128
        raise RunInterrupted(text, number) from interruption
    finally:
        table.close()
        signal.signal(signal.SIGINT, heard)
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
            if worker.log.is_file() and not worker.log.stat().st_size:
                worker.log.unlink()
        with contextlib.suppress(OSError):
            (what.folder / "workers").rmdir()


def _watch(
    what: Plan, shared: SharedStudy, workers: list[_Worker], shares: Sequence[Mapping[str, str]], table: Table
) -> None:
    """Until all workers have ended; who was killed is replaced."""
    replaced, read = 0, 0.0
    while True:
        alive = [worker for worker in workers if worker.process.poll() is None]
        if time.monotonic() - read >= _READ_SECONDS or not alive:
            table.update(shared.trials())
            read = time.monotonic()
        for worker in list(workers):
            status = worker.process.returncode
            if status is not None and status < 0 and replaced < _MOST_REPLACED and not shared.is_over():
                table.close()
                replaced += 1
                silence = SILENT_HEARTBEATS * what.heartbeat
                text = (
                    f"worker {worker.number} was ended by {signal.Signals(-status).name}; another takes its place, and "
                    f"its trial is taken up in {console.duration(silence)}"
                )
                console.current().event("worker_lost", text, worker=worker.number, signal=-status)
                workers[workers.index(worker)] = _start(what, worker.number, shares[worker.number - 1])
        if not any(worker.process.poll() is None for worker in workers):
            break
        time.sleep(_LOOK_SECONDS)
    table.update(shared.trials())
    if not shared.is_over():
        failed = next((worker for worker in workers if worker.process.returncode), workers[0])
        raise LabError(
            f"no worker is left; worker {failed.number} ended with: {failed.last_words()} "
            f"(all it said is in {command_lines.shown(failed.log)}; the same command goes on)"
        )


def _start(what: Plan, number: int, share: Mapping[str, str]) -> _Worker:
    logs = what.folder / "workers"
    logs.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    log = logs / f"{now}_{platform.node()}_{os.getpid()}_{number}.log"
    with log.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "diffusion_lab.search.worker"],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            env={**os.environ, **share},
            text=True,
            start_new_session=True,  # Ctrl-C is for the session, which tells them
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended at once, and its log says why
        process.stdin.write(what.as_json() + "\n")
        process.stdin.flush()
    return _Worker(number, process, log)


def _stop(workers: Sequence[_Worker]) -> None:
    """Let the workers save; Ctrl-C again lets them go at once."""
    print("\nStopping after the steps under way; Ctrl-C again stops at once.", file=sys.stderr, flush=True)
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


def _without_password(argument: str, what: Plan) -> str:
    key, _, value = argument.partition("=")
    if not key.endswith("search.storage"):
        return argument
    if "${" not in value:
        return f"{key}={shown_url(what.storage)}"
    # What stands in a variable of the environment is named, and so is no secret.
    return re.sub(r"(//[^/:@]*:|password=)(?!\$\{)[^@&\s'\"]+", r"\1***", argument)
