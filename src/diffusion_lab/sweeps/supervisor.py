"""Runs a job in its own process, so that a crash of one job does not affect the others. Does not import torch."""

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
from diffusion_lab.sweeps.stop_signals import StopSignals

#: The command of a job's process, which receives the job on stdin.
JOB_COMMAND = (sys.executable, "-m", "diffusion_lab.sweeps.job_process")

#: Lightning takes a process with this variable for one of several that SLURM started.
_SLURM_TASKS = "SLURM_NTASKS"


@dataclass(frozen=True)
class Supervisor:
    """Runs jobs of a sweep, one for each call.

    Attributes:
        argv: the sweep's command line, for the runs' records.
        cores_per_job: how many cores a job may use; None for all.
        gpus: the GPUs of this machine.
        uses_pool: whether cores and GPUs are taken from the machine's pool. SLURM assigns them itself.
        wait_for_others: whether to wait for jobs that other processes run, and not to report them as running elsewhere.
        prefix_output: whether each line that a job prints is prefixed with its number.
        command: the command of a job's process.
    """

    argv: Sequence[str]
    cores_per_job: int | None
    gpus: Sequence[Gpu]
    uses_pool: bool = True
    wait_for_others: bool = False
    prefix_output: bool = False
    command: Sequence[str] = JOB_COMMAND

    def __call__(self, job: Job, stop: StopSignals, notify: Callable[[str], None]) -> Outcome:
        """Run the job, or resume its run. Never raises: an error becomes the outcome.

        Args:
            job: the job.
            stop: the signals that ask the sweep to stop.
            notify: called with lines for people.
        """
        start = time.monotonic()
        try:
            return self._run(job, stop, notify, start)
        except Exception as error:  # the other jobs go on
            return Outcome(job.number, "failed", error=one_line(error), seconds=time.monotonic() - start)

    def _run(self, job: Job, stop: StopSignals, notify: Callable[[str], None], start: float) -> Outcome:
        record = JobRecord(job.outputs, job.key)
        with self._job_lock(record, stop, notify) as job_lock:
            if job_lock is None:
                return Outcome(job.number, "not started" if stop.received else "running elsewhere")
            status, folder = ("none", None) if job.rerun or job.config["resume"] else record.find_run()
            if status == "finished":
                return Outcome(job.number, "skipped", str(folder.path) if folder else None)
            resumable = status in ("running", "interrupted") and folder is not None
            if folder is None or not (resumable and (folder.path / "checkpoints" / "last.ckpt").is_file()):
                folder = None
            with self._resources(job, stop, notify) as resources:
                if resources is None or stop.received:
                    return Outcome(job.number, "not started")
                locks, environment = resources
                resume = None if folder is None else str(folder.path)
                notify(job.label if resume is None else f"{job.label}: resuming {resume}")
                record.update(folder=resume, error=None)
                exit_status = self._run_process(job, resume, record, [job_lock, *locks], environment, stop)
            return _outcome(job, record, exit_status, stop, time.monotonic() - start)

    @contextlib.contextmanager
    def _job_lock(self, record: JobRecord, stop: StopSignals, notify: Callable[[str], None]) -> Iterator[Lock | None]:
        """Hold the job's lock inside the block; None if another process has it, or if the sweep was stopped."""
        lock = record.lock()
        if lock is None and self.wait_for_others:
            notify("another process is running this job; waiting for it")
        while lock is None and self.wait_for_others and not stop.received:
            time.sleep(POLL_SECONDS)
            lock = record.lock()
        try:
            yield lock
        finally:
            if lock is not None:
                lock.release()

    @contextlib.contextmanager
    def _resources(
        self, job: Job, stop: StopSignals, notify: Callable[[str], None]
    ) -> Iterator[tuple[list[Lock], dict[str, str]] | None]:
        """Hold the cores or GPUs that the job needs inside the block.

        Yields their locks and the environment that shows the job just these; None if the sweep was stopped.
        """
        need = needs(job.config["trainer"], self.cores_per_job, self.gpus)
        environment = {key: value for key, value in os.environ.items() if key != _SLURM_TASKS}
        if need.threads is not None:
            environment["OMP_NUM_THREADS"] = str(need.threads)
        if not self.uses_pool:
            yield [], environment
            return
        if need.count:
            by_identity = {gpu.identity: gpu for gpu in need.gpus}
            taken = self._take("gpu", list(by_identity), need.count, stop, notify)
            visible = self.gpus if need.named else [by_identity[identity] for identity in taken or ()]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.token for gpu in visible)
        else:
            taken = self._take("core", [str(index) for index in range(cores())], need.cores, stop, notify)
        try:
            yield None if taken is None else (list(taken.values()), environment)
        finally:
            for lock in (taken or {}).values():
                lock.release()

    def _take(
        self, kind: str, names: Sequence[str], count: int, stop: StopSignals, notify: Callable[[str], None]
    ) -> dict[str, Lock] | None:
        what = {"gpu": "GPU", "core": "core"}[kind]
        waiting = f"waiting for {count} {what}{'s' * (count > 1)} to be free"
        return Pool().take(kind, names, count, lambda: stop.received, lambda: notify(waiting))

    def _run_process(
        self,
        job: Job,
        resume: str | None,
        record: JobRecord,
        locks: Sequence[Lock],
        environment: dict[str, str],
        stop: StopSignals,
    ) -> int:
        """Run the job's process, and return its exit status as `subprocess` gives it."""
        config = (
            job.config if resume is None else {**job.config, "resume": resume, "init_from": None, "init_flags": None}
        )
        message = {
            "argv": list(self.argv),
            "config": config,
            "overrides": job.overrides if resume is None else [f"resume={resume}"],
            "options": job.options,
            "outputs": str(job.outputs),
            "key": record.key,
            "parent": os.getpid(),
        }
        pipe = subprocess.PIPE if self.prefix_output else None
        # The process inherits the locks: if this one is killed, they are still held until the job has ended.
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=pipe,
            stderr=pipe,
            env=environment,
            pass_fds=[lock.descriptor for lock in locks],
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
        copiers = [
            threading.Thread(target=_copy_with_prefix, args=(job.number, source, sink), daemon=True)
            for source, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
            if source is not None
        ]
        for copier in copiers:
            copier.start()
        assert process.stdin is not None
        with stop.forwarded_to(process):
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
                json.dump(message, stdin)
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
        for copier in copiers:
            copier.join(timeout=5.0)  # it takes longer only if a process that the job started outlives the job
        return process.returncode


def _copy_with_prefix(number: int, source: IO[str], sink: Any) -> None:
    with source:
        for line in source:
            text = line.rstrip("\n")
            print(f"[{number}] {text}" if text else "", file=sink, flush=True)


def _outcome(job: Job, record: JobRecord, exit_status: int, stop: StopSignals, seconds: float) -> Outcome:
    fields = record.read()
    folder, error = fields.get("folder"), fields.get("error")
    if exit_status == 0:
        return Outcome(job.number, "finished", folder, seconds=seconds)
    unhandled = [-number for number in stop.signals]  # a signal may kill the process before it has installed a handler
    if exit_status in (128 + signal.SIGINT, 128 + signal.SIGTERM, *unhandled):
        return Outcome(job.number, "interrupted", folder, seconds=seconds)
    if exit_status < 0:
        hint = ", as the system does where memory runs out" if exit_status == -signal.SIGKILL else ""
        error = f"its process was killed by {signal.Signals(-exit_status).name}{hint}"
    return Outcome(job.number, "failed", folder, error or f"its process ended with status {exit_status}", seconds)
