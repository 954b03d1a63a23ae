"""Shows the progress and the outcome of a sweep, and writes its record `sweep.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusion_lab import console
from diffusion_lab.errors import LabError
from diffusion_lab.machine.cores_and_gpus import cores
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.fingerprint import code_hash
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sweeps.jobs import Job, Outcome
from diffusion_lab.sweeps.launchers import Launcher


def show_start(jobs: Sequence[Job], launcher: Launcher, folder: RunFolder) -> None:
    """Show how many jobs there are, the cores of each, and where they are recorded."""
    text = f"{len(jobs)} job{'s' * (len(jobs) > 1)}"
    if launcher.cores_per_job is not None:
        text += f", each with {launcher.cores_per_job} core{'s' * (launcher.cores_per_job > 1)}"
        text += f" of {cores()}" if launcher.uses_pool else ""
    facts = {"jobs": len(jobs), "cores_per_job": launcher.cores_per_job, "record": folder.path / "sweep.json"}
    console.current().event("sweep", f"{text}; recorded in {shown(folder.path / 'sweep.json')}", **facts)


def show_line(job: Job, text: str) -> None:
    """Show a line about a job."""
    console.current().event("job", f"[{job.number}] {text}", number=job.number, job=job.label, text=text)


def show_outcome(job: Job, outcome: Outcome) -> None:
    """Show how a job ended. A job that has not been run by this sweep shows nothing."""
    if outcome.state in ("running elsewhere", "not started"):
        return
    text = f"{outcome.state} after {console.duration(outcome.seconds)}"
    if outcome.state == "skipped":
        text = f"{job.label}: skipped, it has finished"
    text += f": {outcome.error}" if outcome.error else ""
    console.current().event("job", f"[{job.number}] {text}", number=job.number, job=job.label, **_fields(outcome))


def write_record(folder: RunFolder, argv: Sequence[str], jobs: Sequence[Job], outcomes: Mapping[int, Outcome]) -> None:
    """Write `sweep.json`: the command line, and for each job its overrides, key and outcome so far."""
    known = [outcomes.get(job.number, Outcome(job.number, "not started")) for job in jobs]
    listed = [
        {"overrides": job.overrides, "key": job.key, **_fields(outcome)}
        for job, outcome in zip(jobs, known, strict=True)
    ]
    folder.write_json("sweep.json", {"argv": list(argv), "jobs": listed})


def outcome_table(jobs: Sequence[Job], outcomes: Mapping[int, Outcome]) -> str:
    """Format the outcomes as a table: one line for each job, and one below it for its error."""
    known = [outcomes.get(job.number, Outcome(job.number, "not started")) for job in jobs]
    states, names = (max(map(len, column)) for column in ([o.state for o in known], [job.label for job in jobs]))
    lines = [""]
    for job, outcome in zip(jobs, known, strict=True):
        where = shown(Path(outcome.folder)) if outcome.folder else ""
        number = f"[{job.number}]"
        lines.append(f"{number:5} {outcome.state:{states}}  {job.label:{names}}  {where}".rstrip())
        if outcome.error:
            lines.append(f"{'':5} {'':{states}}  {outcome.error}")
    outdated = [outcome.number for outcome in known if outcome.state == "skipped" and _code_has_changed(outcome)]
    if outdated:
        which = ", ".join(map(str, outdated))
        lines += ["", f"Skipped, though the code has changed since they ran: {which}. rerun=true runs all jobs again."]
    return "\n".join(lines)


def show_end(jobs: Sequence[Job], outcomes: Mapping[int, Outcome]) -> None:
    """Show how all jobs ended."""
    if isinstance(console.current(), console.Quiet):  # it does not show the table
        for job in jobs:
            if outcomes[job.number].error:
                console.current().warning(f"[{job.number}] {job.label}: {outcomes[job.number].error}")
    facts = [{"number": job.number, "job": job.label, **_fields(outcomes[job.number])} for job in jobs]
    console.current().event("sweep_end", outcome_table(jobs, outcomes), jobs=facts)


def _fields(outcome: Outcome) -> dict[str, Any]:
    return {
        "state": outcome.state,
        "run_folder": outcome.folder,
        "error": outcome.error,
        "seconds": round(outcome.seconds, 1),
    }


def _code_has_changed(outcome: Outcome) -> bool:
    """Whether the code has changed since the run of this outcome."""
    try:
        folder = RunFolder(str(outcome.folder))
        recorded = folder.read_manifest().get("fingerprint") or {}
        code = code_hash(folder.read_config())
    except LabError:
        return False
    return recorded.get("code", code) != code
