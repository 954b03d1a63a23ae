"""Runs a sweep: from the composed configs of its jobs to their outcomes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from diffusion_lab import console
from diffusion_lab.config.instantiate import make
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.cores_and_gpus import gpus
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sweeps import sweep_report
from diffusion_lab.sweeps.job_record import job_key
from diffusion_lab.sweeps.jobs import Job, Outcome, job_labels
from diffusion_lab.sweeps.launchers import Basic, Launcher
from diffusion_lab.sweeps.stop_signals import StopSignals
from diffusion_lab.sweeps.supervisor import Supervisor

#: Keys of conf/train.yaml that belong to the sweep and not to its runs.
SWEEP_KEYS = ("launcher", "rerun")


def sweep(composed: Sequence[tuple[DictConfig, Sequence[str], dict[str, Any]]]) -> None:
    """Run all jobs but those that have finished before.

    Args:
        composed: for each job its config, already checked, the overrides typed for it, and the option of each group.

    Raises:
        LabError: if the jobs differ in keys of the whole sweep, or two of them are the same run; or, after all jobs
            were tried, if some did not finish.
        RunInterrupted: after Ctrl-C or SIGTERM.
    """
    first = composed[0][0]
    for cfg, _, _ in composed:
        for key in (*SWEEP_KEYS, "console"):
            if cfg[key] != first[key]:
                raise LabError(f"{key} must have one value for the whole sweep")
    launcher: Launcher = make(OmegaConf.to_container(first.launcher, resolve=True), "launcher", {})
    jobs = _jobs(composed)
    folder = RunFolder.create(jobs[0].outputs, "multirun")
    speaker = make(OmegaConf.to_container(first.console, resolve=True), "console", {})
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


def single_run_config(cfg: DictConfig) -> DictConfig:
    """Return the config of a run outside a sweep, without the keys that only a sweep has.

    Raises:
        LabError: if one of these keys was set.
    """
    cfg = cfg.copy()
    with open_dict(cfg):
        launcher, rerun = (cfg.pop(key, None) for key in SWEEP_KEYS)
    if rerun:
        raise LabError("rerun=true is for the jobs of a sweep, which needs -m")
    if launcher is not None and not isinstance(make(OmegaConf.to_container(launcher), "launcher", {}), Basic):
        raise LabError("launcher=… is for the jobs of a sweep, which needs -m")
    return cfg


def _jobs(composed: Sequence[tuple[DictConfig, Sequence[str], dict[str, Any]]]) -> list[Job]:
    typed = [[text for text in overrides if not _sets_sweep_key(text)] for _, overrides, _ in composed]
    jobs = []
    labels = job_labels(typed)
    for number, ((cfg, _, options), overrides, label) in enumerate(zip(composed, typed, labels, strict=True), 1):
        cfg = cfg.copy()
        with open_dict(cfg):
            rerun = bool(cfg.rerun)
            for key in SWEEP_KEYS:
                del cfg[key]
            for key in ("data_dir", "output_dir"):
                cfg.paths[key] = str(Path(cfg.paths[key]).expanduser().resolve())
            if cfg.init_from is not None:
                cfg.init_from = str(Path(cfg.init_from).expanduser().resolve())
        config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        chosen = {group: option for group, option in options.items() if group not in SWEEP_KEYS}
        key = job_key(cfg) if cfg.resume is None else f"resume-{Path(cfg.resume).name}"
        jobs.append(Job(number, label, config, overrides, chosen, key, Path(cfg.paths.output_dir), rerun))
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
