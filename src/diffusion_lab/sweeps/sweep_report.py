"""What a sweep says while it goes on and at its end, and `sweep.json`."""

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


def begin(jobs: Sequence[Job], launcher: Launcher, folder: RunFolder) -> None:
    """Say what will be done."""
    text = f"{len(jobs)} job{'s' * (len(jobs) > 1)}"
    if launcher.share is not None:
        text += f", each with {launcher.share} core{'s' * (launcher.share > 1)}"
        text += f" of {cores()}" if launcher.pooled else ""
    facts = {"jobs": len(jobs), "cores_per_job": launcher.share, "record": folder.path / "sweep.json"}
    console.current().event("sweep", f"{text}; recorded in {shown(folder.path / 'sweep.json')}", **facts)


def about(job: Job, text: str) -> None:
    """Say something of a job."""
    console.current().event("job", f"[{job.number}] {text}", number=job.number, job=job.label, text=text)


def ended(job: Job, outcome: Outcome) -> None:
    """Say what became of a job; of those that will be tried again nothing."""
    if outcome.state in ("elsewhere", "not started"):
        return
    text = f"{outcome.state} after {console.duration(outcome.seconds)}"
    if outcome.state == "skipped":
        text = f"{job.label}: skipped, it has finished"
    text += f": {outcome.error}" if outcome.error else ""
    console.current().event("job", f"[{job.number}] {text}", number=job.number, job=job.label, **_facts(outcome))


def write(folder: RunFolder, argv: Sequence[str], jobs: Sequence[Job], outcomes: Mapping[int, Outcome]) -> None:
    """Write down how far the sweep has come."""
    known = [outcomes.get(job.number, Outcome(job.number, "not started")) for job in jobs]
    listed = [
        {"overrides": job.overrides, "key": job.key, **_facts(outcome)}
        for job, outcome in zip(jobs, known, strict=True)
    ]
    folder.write_json("sweep.json", {"argv": list(argv), "jobs": listed})


def table(jobs: Sequence[Job], outcomes: Mapping[int, Outcome]) -> str:
    """A line for each job, and one below it for its error."""
    known = [outcomes.get(job.number, Outcome(job.number, "not started")) for job in jobs]
    states, names = (max(map(len, column)) for column in ([o.state for o in known], [job.label for job in jobs]))
    lines = [""]
    for job, outcome in zip(jobs, known, strict=True):
        where = shown(Path(outcome.folder)) if outcome.folder else ""
        number = f"[{job.number}]"
        lines.append(f"{number:5} {outcome.state:{states}}  {job.label:{names}}  {where}".rstrip())
        if outcome.error:
            lines.append(f"{'':5} {'':{states}}  {outcome.error}")
    others = [outcome.number for outcome in known if outcome.state == "skipped" and _other_code(outcome)]
    if others:
        which = ", ".join(map(str, others))
        lines += ["", f"Skipped, and made with other code than today's: {which}. rerun=true starts all jobs anew."]
    return "\n".join(lines)


def end(jobs: Sequence[Job], outcomes: Mapping[int, Outcome]) -> None:
    """Say what became of all jobs."""
    if isinstance(console.current(), console.Quiet):  # it shows no table
        for job in jobs:
            if outcomes[job.number].error:
                console.current().warning(f"[{job.number}] {job.label}: {outcomes[job.number].error}")
    facts = [{"number": job.number, "job": job.label, **_facts(outcomes[job.number])} for job in jobs]
    console.current().event("sweep_end", table(jobs, outcomes), jobs=facts)


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "state": outcome.state,
        "run_folder": outcome.folder,
        "error": outcome.error,
        "seconds": round(outcome.seconds, 1),
    }


def _other_code(outcome: Outcome) -> bool:
    try:
        recorded = RunFolder(str(outcome.folder)).read_json("manifest.json").get("fingerprint") or {}
    except LabError:
        return False
    return recorded.get("code", code_hash()) != code_hash()
