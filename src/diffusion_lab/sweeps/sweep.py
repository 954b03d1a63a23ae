"""A sweep, from its jobs to what became of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from diffusion_lab import console
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import SWEEP_KEYS, TrainConfig
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.cores_and_gpus import gpus
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sweeps import sweep_report
from diffusion_lab.sweeps.job_record import job_key
from diffusion_lab.sweeps.jobs import Job, Outcome, labels
from diffusion_lab.sweeps.launchers import Basic, Launcher
from diffusion_lab.sweeps.stop_signals import Stop
from diffusion_lab.sweeps.supervisor import Supervisor

Settings = TypeVar("Settings", bound=TrainConfig)


def sweep(composed: Sequence[tuple[TrainConfig, Sequence[str], dict[str, Any]]]) -> None:
    """Run the jobs, or what is missing of them.

    Args:
        composed: of each job the settings, checked, what was typed for it, and the option of each group.

    Raises:
        LabError: if the jobs disagree on how to run, or two are the same run; or, when all of them have been tried,
            if some have failed.
        RunInterrupted: after Ctrl-C or SIGTERM.
    """
    first = composed[0][0]
    for settings, _, _ in composed:
        for key in (*SWEEP_KEYS, "console"):
            if getattr(settings, key) != getattr(first, key):
                raise LabError(f"{key} is one for the whole sweep: give it one value")
    launcher: Launcher = make(first.launcher, "launcher", {})
    jobs = _jobs(composed)
    folder = RunFolder.create(jobs[0].outputs, "multirun")
    speaker = make(first.console, "console", {})
    stop = Stop()
    with console.speaking(speaker), stop.listening():
        sweep_report.begin(jobs, launcher, folder)
        supervisor = Supervisor(
            argv=list(sys.argv),
            share=launcher.share,
            gpus=gpus(torch.cuda.device_count()) if launcher.pooled else [],
            pooled=launcher.pooled,
            labelled=launcher.side_by_side and isinstance(speaker, console.Text),
        )
        outcomes = _outcomes(jobs, launcher, supervisor, stop, folder)
        sweep_report.end(jobs, outcomes)
        if stop:
            raise RunInterrupted("Interrupted. The same command does what is missing.", stop.signals[0])
        missing = [job for job in jobs if outcomes[job.number].state not in ("finished", "skipped")]
        if missing:
            which, where = ", ".join(f"[{job.number}] {job.label}" for job in missing[:5]), folder.path / "sweep.json"
            more = f" and {len(missing) - 5} more" * (len(missing) > 5)
            raise LabError(f"{len(missing)} of {len(jobs)} jobs did not finish: {which}{more}; {where} says why")


def alone(settings: Settings) -> Settings:
    """The settings of a run that is no job of a sweep, without what is a sweep's.

    Raises:
        LabError: if that was chosen all the same.
    """
    if settings.rerun:
        raise LabError("rerun=true is for the jobs of a sweep, which needs -m")
    if settings.launcher is not None and not isinstance(make(settings.launcher, "launcher", {}), Basic):
        raise LabError("launcher=… is for the jobs of a sweep, which needs -m")
    return replace(settings, launcher=None, rerun=False)


def _jobs(composed: Sequence[tuple[TrainConfig, Sequence[str], dict[str, Any]]]) -> list[Job]:
    typed = [[text for text in overrides if not _of_the_sweep(text)] for _, overrides, _ in composed]
    jobs = []
    for number, ((job, _, options), overrides, label) in enumerate(zip(composed, typed, labels(typed), strict=True), 1):
        settings = job.with_absolute_paths()
        config = settings.as_node()
        chosen = {group: option for group, option in options.items() if group not in SWEEP_KEYS}
        key = job_key(config) if settings.resume is None else f"resume-{Path(settings.resume).name}"
        outputs = Path(settings.paths.output_dir)
        jobs.append(Job(number, label, config, overrides, chosen, key, outputs, settings.rerun))
    _check_distinct(jobs)
    return jobs


def _check_distinct(jobs: Sequence[Job]) -> None:
    """A second job with the key of a first one would be taken for done when that is."""
    known: dict[tuple[Path, str], Job] = {}
    for job in jobs:
        same = known.setdefault((job.outputs, job.key), job)
        if same is not job:
            raise LabError(
                f"the jobs {same.label} and {job.label} are one and the same run by what decides its result (where the "
                "data lies, loggers and tags are no part of that): type two commands, each with a name=… of its own"
            )


def _of_the_sweep(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return key.partition(".")[0] in SWEEP_KEYS


def _outcomes(
    jobs: Sequence[Job], launcher: Launcher, supervisor: Supervisor, stop: Stop, folder: RunFolder
) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    by_number = {job.number: job for job in jobs}
    while True:
        left = [job for job in jobs if job.number not in outcomes or outcomes[job.number].state == "elsewhere"]
        if not left or (outcomes and stop):
            break
        for outcome in launcher.outcomes(left, supervisor, stop, sweep_report.about, folder.path):
            outcomes[outcome.number] = outcome
            sweep_report.ended(by_number[outcome.number], outcome)
            sweep_report.write(folder, supervisor.argv, jobs, outcomes)
        # What other processes do is left to the end, and then waited for.
        supervisor = replace(supervisor, waits=True)
    return outcomes
