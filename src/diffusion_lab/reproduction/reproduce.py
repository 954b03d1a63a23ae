"""Reproduce a run from its folder: train it again, and report whether the results are identical."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffusion_lab import console
from diffusion_lab.config.instantiate import make_one
from diffusion_lab.config.schema import Paths, ReproduceConfig, TrainConfig
from diffusion_lab.config.settings import existing_data_dir
from diffusion_lab.errors import LabError
from diffusion_lab.machine.ranks import is_rank_zero
from diffusion_lab.reproduction.compare_results import ResultComparison, ResultDifference, compare_results
from diffusion_lab.reproduction.recorded_results import recorded_steps
from diffusion_lab.reproduction.setup_differences import setup_differences
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.run_record import RunRecord, plain
from diffusion_lab.run_folder.trust import trusted
from diffusion_lab.runs.load import recorded_settings
from diffusion_lab.runs.loggers import local_loggers
from diffusion_lab.runs.resume import check_processes
from diffusion_lab.runs.train import train


@dataclass(frozen=True)
class Verdict:
    """Whether a new run is identical to a recorded one.

    Attributes:
        here: the new run.
        there: the recorded one.
        comparison: of their results.
        differences: what else differs, by kind, as `setup_differences` returns it.
    """

    here: RunFolder
    there: RunFolder
    comparison: ResultComparison
    differences: dict[str, str]

    @property
    def identical(self) -> bool:
        return not self.comparison.first_differences

    @property
    def line(self) -> str:
        """The verdict in one line: ``identical: 360 steps, weights, metrics, samples``, or ``differs: first …``."""
        if self.comparison.first_differences:
            return f"differs: first {self.comparison.first_differences[0]}"
        return f"identical: {', '.join([_step_count(self.comparison.steps), *self.comparison.compared])}"


def reproduce(settings: ReproduceConfig) -> Verdict | None:
    """Train the run in `run_dir` again, or take the run in `compare_only` instead, and compare the two.

    The verdict is also printed to the console.

    Returns:
        The verdict; None in the processes of a multi-process run other than rank 0.

    Raises:
        LabError: naming why the run cannot be reproduced.
        RunInterrupted: after Ctrl-C.
    """
    speaker = make_one(settings.console, "console", console.Console) if is_rank_zero() else console.Console()
    with console.use(speaker):
        there = RunFolder.open(settings.run_dir)
        other = None if settings.compare_only is None else RunFolder.open(settings.compare_only)
        steps = recorded_steps(there)
        if not steps:
            raise LabError(f"{there.path} has recorded no step (in step_losses.f32 or csv/metrics.csv) to compare with")
        again = _settings_again(settings, there, steps) if other is None else None
        threads = settings.threads or _recorded_threads(there)
        if again is not None and threads is not None and threads > (os.cpu_count() or threads):
            console.current().note(
                f"{threads} threads, as in the recorded run: more than the {os.cpu_count()} cores of this machine"
            )
    if again is not None:
        options = there.read_manifest().get("options")
        with _use_threads(threads):
            here = train(again, there.read_overrides(), options if isinstance(options, dict) else {})
        if not is_rank_zero():
            return None
    else:
        assert other is not None
        here = other
    with console.use(speaker):
        verdict = verdict_on(here, there)
        if not verdict.comparison.steps:
            raise LabError(f"{here.path} and {there.path} have no recorded step in common: there is nothing to compare")
        if again is not None:
            manifest = here.read_manifest()
            here.write_json("manifest.json", manifest | {"reproduces": str(there.path), "verdict": verdict.line})
        _print_verdict(verdict)
    return verdict


def verdict_on(here: RunFolder, there: RunFolder) -> Verdict:
    """Return the verdict on two runs that are there already: a new one, and the recorded one that it is held against.

    Raises:
        LabError: naming the file that is damaged.
    """
    return Verdict(here, there, compare_results(here, there), setup_differences(here, there))


def _settings_again(settings: ReproduceConfig, there: RunFolder, steps: int) -> TrainConfig:
    """Return the recorded settings, adapted to this machine."""
    recorded = recorded_settings(there, trusted(there.read_config(), there.path / "config.yaml"))
    data_dir = settings.paths.data_dir or existing_data_dir(recorded.paths.data_dir)
    paths = Paths(data_dir=data_dir, output_dir=settings.paths.output_dir)
    trainer = dict(recorded.trainer)
    if settings.trainer.accelerator is not None:
        trainer["accelerator"] = settings.trainer.accelerator
    origin = recorded.init_from
    if origin is not None and not Path(origin).exists():
        raise LabError(f"the run started from the weights of {origin} (init_from), which no longer exists")
    manifest = there.read_manifest()
    status = manifest.get("status")
    if status == "finished" and manifest.get("stopped_by") == "max_time":
        trainer["max_steps"], trainer["max_time"] = steps, None
        console.current().note(f"the recorded run ended when its time was up: it is reproduced up to step {steps:,}")
    elif status != "finished":
        trainer["max_steps"] = steps
        text = f"the recorded run is {status}, not finished: it is reproduced up to step {steps:,}, its last one"
        console.current().note(text)
    check_processes(there, recorded.trainer)
    logger = local_loggers(recorded.logger, there.path / "config.yaml")
    if others := ", ".join(sorted(key for key, node in recorded.logger.items() if node and key not in logger)):
        console.current().note(f"the recorded run was logged with {others}, the reproduction is not")
    return replace(recorded, resume=None, console=settings.console, paths=paths, trainer=trainer, logger=logger)


def _recorded_threads(there: RunFolder) -> int | None:
    first = RunRecord(there.path).sessions[:1]
    parts = [session.get(part) or {} for session in first for part in ("computing", "hardware")]
    counts: list[int | None] = [part.get("threads") for part in parts]  # checked when the manifest was read
    return next(filter(None, counts), None)


@contextlib.contextmanager
def _use_threads(count: int | None) -> Iterator[None]:
    """Use `count` CPU threads here and in new processes, since the rounding of sums depends on it; None: as it is."""
    before, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    try:
        if count is not None:
            torch.set_num_threads(count)
            os.environ["OMP_NUM_THREADS"] = str(count)
        yield
    finally:
        torch.set_num_threads(before)
        os.environ.pop("OMP_NUM_THREADS", None)
        if variable is not None:
            os.environ["OMP_NUM_THREADS"] = variable


def _print_verdict(verdict: Verdict) -> None:
    comparison = verdict.comparison
    lines = []
    if (largest := comparison.largest_difference) is not None:
        share = f"{comparison.differing_steps:,} of {_step_count(comparison.steps)} differ in {largest.metric}"
        lines.append(f"{share}, most at step {largest.step}: {largest.values}")
    lines += [f"also {difference}" for difference in comparison.first_differences[1:]]
    lines += [f"{kind}: {text}" for kind, text in verdict.differences.items()]
    if not verdict.identical and not verdict.differences:
        lines.append("config, code, versions, data, threads and hardware are the same")
    console.current().event(
        "verdict",
        "\n  ".join(plain(line) for line in (verdict.line, *lines)),
        verdict=verdict.line,
        identical=verdict.identical,
        steps=comparison.steps,
        compared=comparison.compared,
        first=_event_fields(comparison.first_differences[0]) if comparison.first_differences else None,
        differing_steps=comparison.differing_steps,
        differences=verdict.differences,
        run_folder=verdict.here.path,
        recorded=verdict.there.path,
    )


def _event_fields(difference: ResultDifference) -> dict[str, Any]:
    here, there = (float(v) if isinstance(v, np.floating) else v for v in (difference.here, difference.there))
    where = {"metric": difference.metric, "step": difference.step}
    return {**where, "here": here, "there": there, "relative": difference.relative}


def _step_count(count: int) -> str:
    return f"{count:,} step{'s' * (count != 1)}"
