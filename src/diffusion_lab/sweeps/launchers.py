"""Where the jobs of a sweep run: rivals with one signature, the options of the config group `launcher`.

Each hands jobs to the `Supervisor`, which gives every job a process of its own and its share of the machine.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from diffusion_lab.machine.cores_and_gpus import cores
from diffusion_lab.sweeps.job_record import JobRecord
from diffusion_lab.sweeps.jobs import Job, Outcome
from diffusion_lab.sweeps.stop_signals import Stop
from diffusion_lab.sweeps.supervisor import Supervisor

_POLL_SECONDS = 0.5

#: Takes a line about a job, for people.
Say = Callable[[Job, str], None]


class Launcher(Protocol):
    """Runs jobs.

    Attributes:
        share: how many cores of its machine each job may use; None for all.
        side_by_side: whether several jobs write to this terminal at a time.
        pooled: whether the jobs run on this machine, and take what they need from its pool.
    """

    share: int | None
    side_by_side: bool
    pooled: bool

    def outcomes(
        self, jobs: Sequence[Job], supervisor: Supervisor, stop: Stop, say: Say, folder: Path
    ) -> Iterator[Outcome]:
        """What becomes of each job, as soon as it is known, in any order.

        Args:
            jobs: to be run.
            supervisor: runs one.
            stop: told of this process's signals.
            say: for lines about a job.
            folder: the sweep's, for what else is to be written.
        """
        ...


class Basic:
    """One job after another, each as a run alone would be."""

    share = None
    side_by_side = False
    pooled = True

    def outcomes(
        self, jobs: Sequence[Job], supervisor: Supervisor, stop: Stop, say: Say, folder: Path
    ) -> Iterator[Outcome]:
        for job in jobs:
            yield supervisor(job, stop, lambda text, job=job: say(job, text))  # type: ignore[misc]


class Joblib:
    """So many jobs at a time on this machine, each with its share of the cores.

    Args:
        n_jobs: how many; −1 for one on each core.
    """

    side_by_side = True
    pooled = True

    def __init__(self, n_jobs: int) -> None:
        if n_jobs < 1 and n_jobs != -1:
            raise ValueError(f"launcher.n_jobs must be at least 1, or -1 for one job on each core, got {n_jobs}")
        self.n_jobs = cores() if n_jobs == -1 else n_jobs
        self.share = max(1, cores() // self.n_jobs)

    def outcomes(
        self, jobs: Sequence[Job], supervisor: Supervisor, stop: Stop, say: Say, folder: Path
    ) -> Iterator[Outcome]:
        from joblib import Parallel, delayed

        # Threads will do: a job is a process of its own, and joblib's own processes would die together.
        parallel = Parallel(self.n_jobs, backend="threading", batch_size=1, return_as="generator_unordered")
        run = delayed(lambda job: supervisor(job, stop, lambda text: say(job, text)))
        yield from parallel(run(job) for job in jobs)


class Submitit:
    """Jobs that submitit starts; what each writes is in a file.

    Args:
        cluster: ``local`` or ``slurm``.
        parameters: as submitit's `AutoExecutor` has them.
        max_num_timeout: how often a job at the end of its time is put into the queue again, to go on where it was.
    """

    side_by_side = False

    def __init__(self, cluster: str, parameters: Mapping[str, Any], max_num_timeout: int) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise ValueError(f"launcher=submitit_{cluster} needs the package submitit: pip install submitit")
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise ValueError(
                "launcher=submitit_slurm: there is no SLURM here (no sbatch); launcher=submitit_local does without"
            )
        if parameters["cpus_per_task"] < 1 or parameters["timeout_min"] < 1:
            raise ValueError("launcher.cpus_per_task and launcher.timeout_min must be at least 1")
        self.cluster = cluster
        self.parameters = parameters
        self.max_num_timeout = max_num_timeout
        self.share: int = parameters["cpus_per_task"]
        self.pooled = cluster == "local"

    def outcomes(
        self, jobs: Sequence[Job], supervisor: Supervisor, stop: Stop, say: Say, folder: Path
    ) -> Iterator[Outcome]:
        executor = self.executor(folder / "submitit")
        # Ctrl-C is for this process, which passes it on: submitit's own would kill the jobs.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            pending = list(zip(jobs, executor.map_array(Submitted(supervisor), jobs), strict=True))
        finally:
            signal.signal(signal.SIGINT, handler)
        for job, submitted in pending:
            say(job, f"{job.label}: handed to submitit, log in {submitted.paths.stdout}")
        passed_on = 0
        while pending:
            for job, submitted in [pair for pair in pending if pair[1].done()]:
                pending.remove((job, submitted))
                yield _result(job, submitted, stop)
            if len(stop.signals) > passed_on:
                passed_on = len(stop.signals)
                for _, submitted in pending:
                    self._cancel(submitted)
            time.sleep(_POLL_SECONDS)

    def executor(self, folder: Path) -> Any:
        """submitit's, which writes what it needs and what the jobs say into `folder`."""
        import submitit

        timeouts = {f"{self.cluster}_max_num_timeout": self.max_num_timeout}
        executor = submitit.AutoExecutor(folder, cluster=self.cluster, **timeouts)
        executor.update_parameters(**self.parameters)
        return executor

    def _cancel(self, submitted: Any) -> None:
        if self.cluster == "local":
            os.kill(int(submitted.job_id), signal.SIGTERM)  # submitit's own way would leave the job a second
        else:
            submitted.cancel(check=False)


class SubmititLocal(Submitit):
    """submitit's processes on this machine, all of them at once; jobs wait until cores or a GPU are free.

    Args:
        cpus_per_task: the cores of a job.
        timeout_min: after how many minutes, waiting included, a job is stopped and begins to wait again.
    """

    def __init__(self, cpus_per_task: int, timeout_min: int) -> None:
        parameters = {"cpus_per_task": cpus_per_task, "timeout_min": timeout_min}
        super().__init__("local", parameters, max_num_timeout=3)


class SubmititSlurm(Submitit):
    """An array of SLURM jobs. What is None is left to SLURM.

    Args:
        cpus_per_task: the cores of a job.
        gpus_per_node: its GPUs.
        mem_gb: its memory.
        timeout_min: its time in minutes, for each time that it is in the queue.
        max_num_timeout: how often it is put into the queue again at the end of its time, to go on where it was.
        signal_delay_s: how long before the end of its time it saves and stops.
        array_parallelism: how many jobs at a time.
        partition: SLURM's, as `account`, `qos` and `constraint`.
        additional_parameters: any others of sbatch, such as ``{mail-type: END}``.
    """

    def __init__(
        self,
        cpus_per_task: int,
        gpus_per_node: int | None,
        mem_gb: int | None,
        timeout_min: int,
        max_num_timeout: int,
        signal_delay_s: int,
        array_parallelism: int,
        partition: str | None,
        account: str | None,
        qos: str | None,
        constraint: str | None,
        additional_parameters: dict[str, Any],
    ) -> None:
        own = {
            "signal_delay_s": signal_delay_s,
            "array_parallelism": array_parallelism,
            "partition": partition,
            "account": account,
            "qos": qos,
            "constraint": constraint,
            "additional_parameters": additional_parameters,
        }
        parameters = {
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "mem_gb": mem_gb,
            "timeout_min": timeout_min,
            **{f"slurm_{name}": value for name, value in own.items()},
        }
        super().__init__("slurm", {name: v for name, v in parameters.items() if v is not None}, max_num_timeout)


class Submitted:
    """What submitit runs for a job, in a process that is its supervisor.

    Args:
        supervisor: runs the job.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._stop: Stop | None = None

    def __call__(self, job: Job) -> Outcome:
        self._stop = Stop()
        with self._stop.listening():
            return self.supervisor(job, self._stop, lambda text: print(text, flush=True))

    def checkpoint(self, job: Job) -> Any:
        """Called by submitit at the end of the job's time, in a handler of signals: save, stop, and queue it again."""
        import submitit

        if self._stop is not None:
            self._stop.handle(signal.SIGTERM)
            self._stop.wait()
        return submitit.helpers.DelayedSubmission(Submitted(self.supervisor), replace(job, rerun=False))


def _result(job: Job, submitted: Any, stop: Stop) -> Outcome:
    try:
        return submitted.result()
    except Exception as error:  # its supervisor was killed, or SLURM ended it
        folder = JobRecord(job.outputs, job.key).read().get("folder")
        if stop:
            return Outcome(job.number, "interrupted", folder)
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return Outcome(job.number, "failed", folder, f"submitit lost it: {first}; see {submitted.paths.stderr}")
