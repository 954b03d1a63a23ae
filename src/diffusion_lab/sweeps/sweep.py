"""A sweep, from its jobs to what became of them."""

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
from diffusion_lab.sweeps.jobs import Job, Outcome, labels
from diffusion_lab.sweeps.launchers import Basic, Launcher
from diffusion_lab.sweeps.stop_signals import Stop
from diffusion_lab.sweeps.supervisor import Supervisor

#: Keys of conf/train.yaml that are a sweep's, and no part of its runs.
OF_THE_SWEEP = ("launcher", "rerun")


def sweep(composed: Sequence[tuple[DictConfig, Sequence[str], dict[str, Any]]]) -> None:
    """Run the jobs, or what is missing of them.

    Args:
        composed: of each job the config, checked, what was typed for it, and the option of each group.

    Raises:
        LabError: if the jobs disagree on how to run, or two are the same run; or, when all of them have been tried,
            if some have failed.
        RunInterrupted: after Ctrl-C or SIGTERM.
    """
    first = composed[0][0]
    for cfg, _, _ in composed:
        for key in (*OF_THE_SWEEP, "console"):
            if cfg[key] != first[key]:
                raise LabError(f"{key} is one for the whole sweep: give it one value")
    launcher: Launcher = make(OmegaConf.to_container(first.launcher, resolve=True), "launcher", {})
    jobs = _jobs(composed)
    folder = RunFolder.create(jobs[0].outputs, "multirun")
    speaker = make(OmegaConf.to_container(first.console, resolve=True), "console", {})
    stop = Stop()
    with console.use(speaker), stop.listening():
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


def alone(cfg: DictConfig) -> DictConfig:
    """The config of a run that is no job of a sweep, without what is a sweep's.

    Raises:
        LabError: if that was chosen all the same.
    """
    cfg = cfg.copy()
    with open_dict(cfg):
        launcher, rerun = (cfg.pop(key, None) for key in OF_THE_SWEEP)
    if rerun:
        raise LabError("rerun=true is for the jobs of a sweep, which needs -m")
    if launcher is not None and not isinstance(make(OmegaConf.to_container(launcher), "launcher", {}), Basic):
        raise LabError("launcher=… is for the jobs of a sweep, which needs -m")
    return cfg


def _jobs(composed: Sequence[tuple[DictConfig, Sequence[str], dict[str, Any]]]) -> list[Job]:
    typed = [[text for text in overrides if not _of_the_sweep(text)] for _, overrides, _ in composed]
    jobs = []
    for number, ((cfg, _, options), overrides, label) in enumerate(zip(composed, typed, labels(typed), strict=True), 1):
        cfg = cfg.copy()
        with open_dict(cfg):
            rerun = bool(cfg.rerun)
            for key in OF_THE_SWEEP:
                del cfg[key]
            for key in ("data_dir", "output_dir"):
                cfg.paths[key] = str(Path(cfg.paths[key]).expanduser().resolve())
            if cfg.init_from is not None:
                cfg.init_from = str(Path(cfg.init_from).expanduser().resolve())
        config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        chosen = {group: option for group, option in options.items() if group not in OF_THE_SWEEP}
        key = job_key(cfg) if cfg.resume is None else f"resume-{Path(cfg.resume).name}"
        jobs.append(Job(number, label, config, overrides, chosen, key, Path(cfg.paths.output_dir), rerun))
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
    return key.partition(".")[0] in OF_THE_SWEEP


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
