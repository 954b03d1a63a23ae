"""Launchers that run the jobs of a sweep with submitit, on this machine or as an array of SLURM jobs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffusion_lab.sweeps.job_record import JobRecord
from diffusion_lab.sweeps.jobs import Job, Outcome
from diffusion_lab.sweeps.launchers import Notify
from diffusion_lab.sweeps.stop_signals import StopSignals
from diffusion_lab.sweeps.supervisor import Supervisor

_POLL_SECONDS = 0.5


class Submitit:
    """Submits jobs with submitit, which writes the output of each to a file.

    Args:
        cluster: ``local`` or ``slurm``.
        parameters: the parameters of `submitit.AutoExecutor`.
        max_num_timeout: how often a job that reached its time limit is queued again, to resume where it stopped.

    Raises:
        ValueError: if submitit or SLURM is missing, or a parameter is out of its range.
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
        self.cores_per_job: int = parameters["cpus_per_task"]
        self.uses_pool = cluster == "local"

    def outcomes(
        self, jobs: Sequence[Job], supervisor: Supervisor, stop: StopSignals, notify: Notify, folder: Path
    ) -> Iterator[Outcome]:
        executor = self.executor(folder / "submitit")
        # submitit's processes inherit that SIGINT is ignored: this process alone handles Ctrl-C and then stops them,
        # while submitit would kill the jobs.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            pending = list(zip(jobs, executor.map_array(SubmittedJob(supervisor), jobs), strict=True))
        finally:
            signal.signal(signal.SIGINT, handler)
        for job, submitted in pending:
            notify(job, f"{job.label}: handed to submitit, log in {submitted.paths.stdout}")
        forwarded = 0
        while pending:
            for job, submitted in [pair for pair in pending if pair[1].done()]:
                pending.remove((job, submitted))
                yield _result(job, submitted, stop)
            if len(stop.signals) > forwarded:
                forwarded = len(stop.signals)
                for _, submitted in pending:
                    self._cancel(submitted)
            time.sleep(_POLL_SECONDS)

    def executor(self, folder: Path) -> Any:
        """Return a `submitit.AutoExecutor` that writes its files and the output of the jobs into `folder`."""
        import submitit

        timeouts = {f"{self.cluster}_max_num_timeout": self.max_num_timeout}
        executor = submitit.AutoExecutor(folder, cluster=self.cluster, **timeouts)
        executor.update_parameters(**self.parameters)
        return executor

    def _cancel(self, submitted: Any) -> None:
        if self.cluster == "local":
            os.kill(int(submitted.job_id), signal.SIGTERM)  # submitit's `cancel` would give the job one second
        else:
            submitted.cancel(check=False)


class SubmititLocal(Submitit):
    """Starts a process of this machine for every job at once; each waits until its cores or GPUs are free.

    Args:
        cpus_per_task: cores of a job.
        timeout_min: minutes, waiting included, after which a job is stopped and queued again.
    """

    def __init__(self, cpus_per_task: int, timeout_min: int) -> None:
        parameters = {"cpus_per_task": cpus_per_task, "timeout_min": timeout_min}
        super().__init__("local", parameters, max_num_timeout=3)


class SubmititSlurm(Submitit):
    """Submits an array of SLURM jobs. SLURM's defaults apply to arguments that are None.

    Args:
        cpus_per_task: cores of a job.
        gpus_per_node: GPUs of a job.
        mem_gb: memory of a job in GB.
        timeout_min: time limit of a job in minutes; a job that is queued again gets as much again.
        max_num_timeout: how often a job that reached its time limit is queued again, to resume where it stopped.
        signal_delay_s: seconds before the time limit at which a job saves and stops.
        array_parallelism: how many jobs run at a time.
        partition: SLURM's option of this name, as are `account`, `qos` and `constraint`.
        additional_parameters: other options of sbatch, such as ``{mail-type: END}``.
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
        slurm_only = {
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
            **{f"slurm_{name}": value for name, value in slurm_only.items()},
        }
        super().__init__("slurm", {name: v for name, v in parameters.items() if v is not None}, max_num_timeout)


class SubmittedJob:
    """The function that submitit calls in the process that it starts for a job, which becomes the job's supervisor.

    Args:
        supervisor: runs the job.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._stop: StopSignals | None = None

    def __call__(self, job: Job) -> Outcome:
        self._stop = StopSignals()
        with self._stop.handlers_installed():
            return self.supervisor(job, self._stop, lambda text: print(text, flush=True))

    def checkpoint(self, job: Job) -> Any:
        """Save and stop the job, and return its resubmission. submitit calls this in a signal handler."""
        import submitit

        if self._stop is not None:
            self._stop.handle(signal.SIGTERM)
            self._stop.wait_for_processes()
        return submitit.helpers.DelayedSubmission(SubmittedJob(self.supervisor), replace(job, rerun=False))


def _result(job: Job, submitted: Any, stop: StopSignals) -> Outcome:
    try:
        return submitted.result()
    except Exception as error:  # the supervisor was killed, or SLURM ended the job
        folder = JobRecord(job.outputs, job.key).read().get("folder")
        if stop.received:
            return Outcome(job.number, "interrupted", folder)
        first = (str(error).splitlines() or [type(error).__name__])[0]
        text = f"submitit has no result of it: {first}; see {submitted.paths.stderr}"
        return Outcome(job.number, "failed", folder, text)
