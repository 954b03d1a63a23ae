"""Runs a job in a process of its own: whatever happens to it happens to it alone. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from diffusion_lab.config.cli import one_line
from diffusion_lab.machine.cores_and_gpus import Gpu, cores, needs
from diffusion_lab.machine.file_lock import Lock
from diffusion_lab.machine.resource_pool import POLL_SECONDS, Pool
from diffusion_lab.sweeps.job_record import JobRecord
from diffusion_lab.sweeps.jobs import Job, Outcome
from diffusion_lab.sweeps.stop_signals import Stop

#: What a job's process runs. It is told its job on stdin.
CHILD = (sys.executable, "-m", "diffusion_lab.sweeps.job_process")

#: Lightning takes a process with it for one of several that SLURM started.
_SLURM_TASKS = "SLURM_NTASKS"


@dataclass(frozen=True)
class Supervisor:
    """Runs the jobs of a sweep that it is given, one for each call.

    Attributes:
        argv: of the sweep, for the record.
        share: how many cores a job may use; None for all.
        gpus: of this machine.
        pooled: whether cores and GPUs are taken from the machine's pool. SLURM has one of its own.
        waits: whether jobs that other processes run are waited for.
        labelled: whether each line that a job writes is marked with its number.
        command: what a job's process runs.
    """

    argv: Sequence[str]
    share: int | None
    gpus: Sequence[Gpu]
    pooled: bool = True
    waits: bool = False
    labelled: bool = False
    command: Sequence[str] = CHILD

    def __call__(self, job: Job, stop: Stop, say: Callable[[str], None]) -> Outcome:
        """Run the job, or what is missing of it. Never raises: what goes wrong is an outcome.

        Args:
            job: the job.
            stop: told of signals by whoever gets them.
            say: takes a line for people.
        """
        start = time.monotonic()
        try:
            return self._run(job, stop, say, start)
        except Exception as error:  # the other jobs go on
            return Outcome(job.number, "failed", error=one_line(error), seconds=time.monotonic() - start)

    def _run(self, job: Job, stop: Stop, say: Callable[[str], None], start: float) -> Outcome:
        record = JobRecord(job.outputs, job.key)
        with self._right(record, stop, say) as right:
            if right is None:
                return Outcome(job.number, "not started" if stop else "elsewhere")
            state, folder = ("none", None) if job.rerun or job.config["resume"] else record.run()
            if state == "finished":
                return Outcome(job.number, "skipped", str(folder.path) if folder else None)
            resumable = state in ("running", "interrupted") and folder is not None
            if folder is None or not (resumable and (folder.path / "checkpoints" / "last.ckpt").is_file()):
                folder = None
            with self._resources(job, stop, say) as taken:
                if taken is None or stop:
                    return Outcome(job.number, "not started")
                locks, environment = taken
                where = None if folder is None else str(folder.path)
                say(job.label if where is None else f"{job.label}: going on with {where}")
                record.write(folder=where, error=None)
                status = self._child(job, where, record, [right, *locks], environment, stop)
            return _outcome(job, record, status, stop, time.monotonic() - start)

    @contextlib.contextmanager
    def _right(self, record: JobRecord, stop: Stop, say: Callable[[str], None]) -> Iterator[Lock | None]:
        lock = record.lock()
        if lock is None and self.waits:
            say("another process runs it; waiting for that")
        while lock is None and self.waits and not stop:
            time.sleep(POLL_SECONDS)
            lock = record.lock()
        try:
            yield lock
        finally:
            if lock is not None:
                lock.release()

    @contextlib.contextmanager
    def _resources(
        self, job: Job, stop: Stop, say: Callable[[str], None]
    ) -> Iterator[tuple[list[Lock], dict[str, str]] | None]:
        """Locks on what the job needs, and the environment that shows it just that; None if it was stopped."""
        need = needs(job.config["trainer"], self.share, self.gpus)
        environment = {key: value for key, value in os.environ.items() if key != _SLURM_TASKS}
        if need.threads is not None:
            environment["OMP_NUM_THREADS"] = str(need.threads)
        if not self.pooled:
            yield [], environment
            return
        if need.count:
            every = {gpu.identity: gpu for gpu in need.gpus}
            words = f"{need.count} GPU{'s' * (need.count > 1)} to be free"
            taken = Pool().take("gpu", list(every), need.count, lambda: bool(stop), lambda: say(f"waiting for {words}"))
            shown = self.gpus if need.named else [every[identity] for identity in taken or ()]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.token for gpu in shown)
        else:
            every_core = [str(index) for index in range(cores())]
            words = f"{need.cores} core{'s' * (need.cores > 1)} to be free"
            taken = Pool().take("core", every_core, need.cores, lambda: bool(stop), lambda: say(f"waiting for {words}"))
        try:
            yield None if taken is None else (list(taken.values()), environment)
        finally:
            for lock in (taken or {}).values():
                lock.release()

    def _child(
        self,
        job: Job,
        resume: str | None,
        record: JobRecord,
        locks: Sequence[Lock],
        environment: dict[str, str],
        stop: Stop,
    ) -> int:
        """Run the job's process; returns its status as `subprocess` has it."""
        config = job.config if resume is None else {**job.config, "resume": resume, "init_from": None}
        message = {
            "argv": list(self.argv),
            "config": config,
            "overrides": job.overrides if resume is None else [f"resume={resume}"],
            "options": job.options,
            "outputs": str(job.outputs),
            "key": record.key,
            "parent": os.getpid(),
        }
        pipe = subprocess.PIPE if self.labelled else None
        # It inherits the locks: should this process be killed, they are held until the job has ended, too.
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=pipe,
            stderr=pipe,
            env=environment,
            pass_fds=[lock.descriptor for lock in locks],
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        pumps = [
            threading.Thread(target=_label, args=(job.number, source, sink), daemon=True)
            for source, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
            if source is not None
        ]
        for pump in pumps:
            pump.start()
        assert process.stdin is not None
        with stop.passed_on_to(process):
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
                json.dump(message, stdin)
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
        for pump in pumps:
            pump.join(timeout=5.0)  # longer only if a process of the job outlives it
        return process.returncode


def _label(number: int, source: IO[str], sink: Any) -> None:
    with source:
        for line in source:
            text = line.rstrip("\n")
            print(f"[{number}] {text}" if text else "", file=sink, flush=True)


def _outcome(job: Job, record: JobRecord, status: int, stop: Stop, seconds: float) -> Outcome:
    known = record.read()
    folder, error = known.get("folder"), known.get("error")
    if status == 0:
        return Outcome(job.number, "finished", folder, seconds=seconds)
    asked = [-number for number in stop.signals]  # it may have ended before it could handle them
    if status in (128 + signal.SIGINT, 128 + signal.SIGTERM, *asked):
        return Outcome(job.number, "interrupted", folder, seconds=seconds)
    if status < 0:
        hint = ", as the system does where memory runs out" if status == -signal.SIGKILL else ""
        error = f"its process was killed by {signal.Signals(-status).name}{hint}"
    return Outcome(job.number, "failed", folder, error or f"its process ended with status {status}", seconds)
