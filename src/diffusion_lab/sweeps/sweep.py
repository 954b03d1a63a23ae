"""Runs a sweep: from the composed configs of its jobs to their outcomes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from diffusion_lab import console
from diffusion_lab.config.build import recordable
from diffusion_lab.config.instantiate import make_one
from diffusion_lab.config.schema import SWEEP_KEYS, TrainConfig
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.cores_and_gpus import gpus
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sweeps import sweep_report
from diffusion_lab.sweeps.job_record import job_key
from diffusion_lab.sweeps.jobs import Job, Outcome, job_labels
from diffusion_lab.sweeps.launchers import Basic, Launcher
from diffusion_lab.sweeps.stop_signals import StopSignals
from diffusion_lab.sweeps.supervisor import Supervisor

Settings = TypeVar("Settings", bound=TrainConfig)


def sweep(composed: Sequence[tuple[TrainConfig, Sequence[str], dict[str, Any]]]) -> None:
    """Run all jobs but those that have finished before.

    Args:
        composed: for each job its settings, already checked, the overrides typed for it, and the option of each group.

    Raises:
        LabError: if the jobs differ in keys of the whole sweep, or two of them are the same run; or, after all jobs
            were tried, if some did not finish.
        RunInterrupted: after Ctrl-C or SIGTERM.
    """
    first = composed[0][0]
    for settings, _, _ in composed:
        for key in (*SWEEP_KEYS, "console"):
            if getattr(settings, key) != getattr(first, key):
                raise LabError(f"{key} must have one value for the whole sweep")
    launcher: Launcher = make_one(first.launcher, "launcher", Launcher)
    jobs = _jobs(composed)
    folder = RunFolder.create(jobs[0].outputs, "multirun")
    speaker = make_one(first.console, "console", console.Console)
    stop = StopSignals()
    with console.use(speaker), stop.handlers_installed():
        sweep_report.show_start(jobs, launcher, folder)
        supervisor = Supervisor(
            argv=list(sys.argv),
            cores_per_job=launcher.cores_per_job,
            gpus=gpus(torch.cuda.device_count()) if launcher.uses_pool else [],
            uses_pool=launcher.uses_pool,
            prefix_output=launcher.side_by_side and isinstance(speaker, console.Text),
        )
        outcomes = _run_jobs(jobs, launcher, supervisor, stop, folder)
        sweep_report.show_end(jobs, outcomes)
        if stop.received:
            raise RunInterrupted("Interrupted. The same command runs the remaining jobs.", stop.signals[0])
        missing = [job for job in jobs if outcomes[job.number].state not in ("finished", "skipped")]
        if missing:
            which, where = ", ".join(f"[{job.number}] {job.label}" for job in missing[:5]), folder.path / "sweep.json"
            more = f" and {len(missing) - 5} more" * (len(missing) > 5)
            raise LabError(f"{len(missing)} of {len(jobs)} jobs did not finish: {which}{more}; {where} says why")


def single_run_config(settings: Settings) -> Settings:
    """Return the settings of a run outside a sweep, without the keys that only a sweep has.

    Raises:
        LabError: if one of these keys was set.
    """
    if settings.rerun:
        raise LabError("rerun=true is for the jobs of a sweep, which needs -m")
    if settings.launcher is not None and not isinstance(make_one(settings.launcher, "launcher", Launcher), Basic):
        raise LabError("launcher=… is for the jobs of a sweep, which needs -m")
    return replace(settings, launcher=None, rerun=False)


def _jobs(composed: Sequence[tuple[TrainConfig, Sequence[str], dict[str, Any]]]) -> list[Job]:
    typed = [[text for text in overrides if not _sets_sweep_key(text)] for _, overrides, _ in composed]
    jobs = []
    labels = job_labels(typed)
    for number, ((job, _, options), overrides, label) in enumerate(zip(composed, typed, labels, strict=True), 1):
        settings = recordable(job)
        config = settings.as_node()
        chosen = {group: option for group, option in options.items() if group not in SWEEP_KEYS}
        key = job_key(config) if settings.resume is None else f"resume-{Path(settings.resume).name}"
        outputs = Path(settings.paths.output_dir)
        jobs.append(Job(number, label, config, overrides, chosen, key, outputs, settings.rerun))
    _check_distinct(jobs)
    return jobs


def _check_distinct(jobs: Sequence[Job]) -> None:
    """Refuse two jobs with the same key: the second one would be skipped once the first one has finished."""
    by_key: dict[tuple[Path, str], Job] = {}
    for job in jobs:
        same = by_key.setdefault((job.outputs, job.key), job)
        if same is not job:
            raise LabError(
                f"the jobs {same.label} and {job.label} are the same run: they differ only in settings that do not "
                "affect the result (such as where the data lies, loggers and tags); run two commands, each with a "
                "name=… of its own"
            )


def _sets_sweep_key(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return key.partition(".")[0] in SWEEP_KEYS


def _run_jobs(
    jobs: Sequence[Job], launcher: Launcher, supervisor: Supervisor, stop: StopSignals, folder: RunFolder
) -> dict[int, Outcome]:
    """Run the jobs, and write down and show each outcome as it comes. Returns the outcomes by the jobs' numbers."""
    outcomes: dict[int, Outcome] = {}
    by_number = {job.number: job for job in jobs}
    while True:
        left = [job for job in jobs if job.number not in outcomes or outcomes[job.number].state == "running elsewhere"]
        if not left or (outcomes and stop.received):
            break
        for outcome in launcher.outcomes(left, supervisor, stop, sweep_report.show_line, folder.path):
            outcomes[outcome.number] = outcome
            sweep_report.show_outcome(by_number[outcome.number], outcome)
            sweep_report.write_record(folder, supervisor.argv, jobs, outcomes)
        # Jobs that other processes run are waited for only after all others are done.
        supervisor = replace(supervisor, wait_for_others=True)
    return outcomes
