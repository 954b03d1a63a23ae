"""Launchers, which decide where the jobs of a sweep run: the interface, and those that run jobs on this machine.

They are the options of the config group `launcher`; `submitit_launchers` has those that need submitit. Each passes its
jobs to a `Supervisor`, which gives every job its own process and its cores or GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from diffusion_lab.machine.cores_and_gpus import cores
from diffusion_lab.sweeps.jobs import Job, Outcome
from diffusion_lab.sweeps.stop_signals import StopSignals
from diffusion_lab.sweeps.supervisor import Supervisor

#: Shows people a line about a job.
Notify = Callable[[Job, str], None]


@runtime_checkable
class Launcher(Protocol):
    """Runs jobs.

    Attributes:
        cores_per_job: how many cores of its machine each job may use; None for all.
        side_by_side: whether several jobs write to this terminal at the same time.
        uses_pool: whether the jobs run on this machine and take cores and GPUs from its pool.
    """

    cores_per_job: int | None
    side_by_side: bool
    uses_pool: bool

    def outcomes(
        self, jobs: Sequence[Job], supervisor: Supervisor, stop: StopSignals, notify: Notify, folder: Path
    ) -> Iterator[Outcome]:
        """Run the jobs, and yield the outcome of each as soon as it ends, in any order.

        Args:
            jobs: the jobs to run.
            supervisor: runs one job.
            stop: the signals that ask the sweep to stop.
            notify: called with lines about a job.
            folder: the sweep's folder, for any files that the launcher writes.
        """
        ...


class Basic:
    """Runs one job after another, each with the cores and threads of a single run."""

    cores_per_job = None
    side_by_side = False
    uses_pool = True

    def outcomes(
        self, jobs: Sequence[Job], supervisor: Supervisor, stop: StopSignals, notify: Notify, folder: Path
    ) -> Iterator[Outcome]:
        for job in jobs:
            yield supervisor(job, stop, lambda text, job=job: notify(job, text))  # type: ignore[misc]


class Joblib:
    """Runs several jobs at a time on this machine, each on an equal part of its cores.

    Args:
        n_jobs: how many jobs at a time; −1 for one on each core.

    Raises:
        ValueError: if `n_jobs` is neither positive nor −1.
    """

    side_by_side = True
    uses_pool = True

    def __init__(self, n_jobs: int) -> None:
        if n_jobs < 1 and n_jobs != -1:
            raise ValueError(f"launcher.n_jobs must be at least 1, or -1 for one job on each core, got {n_jobs}")
        self.n_jobs = cores() if n_jobs == -1 else n_jobs
        self.cores_per_job = max(1, cores() // self.n_jobs)

    def outcomes(
        self, jobs: Sequence[Job], supervisor: Supervisor, stop: StopSignals, notify: Notify, folder: Path
    ) -> Iterator[Outcome]:
        from joblib import Parallel, delayed

        # Threads are enough, since each job is its own process; joblib's worker processes would all end with one.
        parallel = Parallel(self.n_jobs, backend="threading", batch_size=1, return_as="generator_unordered")
        run = delayed(lambda job: supervisor(job, stop, lambda text: notify(job, text)))
        yield from parallel(run(job) for job in jobs)
