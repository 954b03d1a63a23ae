"""A run made again from its folder alone, with a verdict: the same, or where it first differs and what else does."""

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
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.schema import Paths, ReproduceConfig, TrainConfig
from diffusion_lab.config.settings import default_data_dir
from diffusion_lab.errors import LabError
from diffusion_lab.machine.library_warnings import calm
from diffusion_lab.machine.ranks import is_rank_zero
from diffusion_lab.reproduction.circumstances import circumstances
from diffusion_lab.reproduction.compare_results import Comparison, Difference, compare, recorded_steps
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.run_record import RunRecord, plain
from diffusion_lab.run_folder.trust import trusted
from diffusion_lab.runs.load import recorded_settings
from diffusion_lab.runs.train import train


@dataclass(frozen=True)
class Verdict:
    """What came of a comparison.

    Attributes:
        here: the new run.
        there: the recorded one.
        comparison: of their results.
        differences: of their circumstances, in words, by kind.
    """

    here: RunFolder
    there: RunFolder
    comparison: Comparison
    differences: dict[str, str]

    @property
    def identical(self) -> bool:
        return not self.comparison.first

    @property
    def line(self) -> str:
        """``identical: 360 steps, weights, metrics, samples``, or ``differs: first …``."""
        if self.comparison.first:
            return f"differs: first {self.comparison.first[0]}"
        return f"identical: {', '.join([_steps(self.comparison.steps), *self.comparison.compared])}"


def reproduce(settings: ReproduceConfig) -> Verdict | None:
    """Train the run in `run_dir` again, or compare it with the run in `compare_only`; show the console the verdict.

    Returns:
        None in a process that is not the first of several.

    Raises:
        LabError: naming what makes it impossible.
        RunInterrupted: after Ctrl-C.
    """
    calm()
    speaker = make(settings.console, "console", {}) if is_rank_zero() else console.Console()
    with console.speaking(speaker):
        there = RunFolder.open(settings.run_dir)
        other = None if settings.compare_only is None else RunFolder.open(settings.compare_only)
        steps = recorded_steps(there)
        if not steps:
            raise LabError(f"{there.path} has no step on record (step_losses.f32, csv/metrics.csv) to compare with")
        again = _settings_again(settings, there, steps) if other is None else None
        threads = settings.threads or _recorded_threads(there)
        if again is not None and threads is not None and threads > (os.cpu_count() or threads):
            console.current().note(
                f"{threads} threads, as there were: more than the {os.cpu_count()} cores of this machine"
            )
    if again is not None:
        options = there.read_json("manifest.json").get("options")
        with _threads(threads):
            here = train(again, there.read_overrides(), options if isinstance(options, dict) else {})
        if not is_rank_zero():
            return None
    else:
        assert other is not None
        here = other
    with console.speaking(speaker):
        verdict = Verdict(here, there, compare(here, there), circumstances(here, there))
        if not verdict.comparison.steps:
            raise LabError(f"{here.path} has no step on record that {there.path} has, too: there is nothing to compare")
        if again is not None:
            manifest = here.read_json("manifest.json")
            here.write_json("manifest.json", manifest | {"reproduces": str(there.path), "verdict": verdict.line})
        _tell(verdict)
    return verdict


def _settings_again(settings: ReproduceConfig, there: RunFolder, steps: int) -> TrainConfig:
    """Return the recorded settings, adapted to this machine."""
    recorded = recorded_settings(there, trusted(there.read_config(), there.path / "config.yaml"))
    usual = recorded.paths.data_dir if Path(recorded.paths.data_dir).is_dir() else default_data_dir()
    paths = Paths(data_dir=settings.paths.data_dir or usual, output_dir=settings.paths.output_dir)
    trainer = dict(recorded.trainer)
    if settings.trainer.accelerator is not None:
        trainer["accelerator"] = settings.trainer.accelerator
    origin = recorded.init_from
    if origin is not None and not Path(origin).is_dir():
        raise LabError(f"the run began with the weights of {origin} (init_from), which is not there any more")
    status = there.read_json("manifest.json").get("status")
    if status != "finished":
        trainer["max_steps"] = steps
        text = f"the recorded run is {status}, not finished: it is made again up to step {steps:,}, its last on record"
        console.current().note(text)
    return replace(recorded, resume=None, console=settings.console, paths=paths, trainer=trainer)


def _recorded_threads(there: RunFolder) -> int | None:
    parts = [session.get(part) for session in RunRecord(there.path).sessions[:1] for part in ("computing", "hardware")]
    counts = [part.get("threads") for part in parts if isinstance(part, dict)]
    return next((count for count in counts if isinstance(count, int) and count > 0), None)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many threads, in the processes that are started, too. The last bits of a sum depend on them."""
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


def _tell(verdict: Verdict) -> None:
    found = verdict.comparison
    lines = []
    if found.largest is not None:
        of = f"{found.differing:,} of {_steps(found.steps)} differ in {found.largest.metric}"
        lines.append(f"{of}, most at step {found.largest.step}: {found.largest.values}")
    lines += [f"also {difference}" for difference in found.first[1:]]
    lines += [f"{kind}: {text}" for kind, text in verdict.differences.items()]
    if not verdict.identical and not verdict.differences:
        lines.append("config, code, versions, data, threads and hardware are the same")
    console.current().event(
        "verdict",
        "\n  ".join(plain(line) for line in (verdict.line, *lines)),
        verdict=verdict.line,
        identical=verdict.identical,
        steps=found.steps,
        compared=found.compared,
        first=_facts(found.first[0]) if found.first else None,
        differing_steps=found.differing,
        differences=verdict.differences,
        run_folder=verdict.here.path,
        recorded=verdict.there.path,
    )


def _facts(difference: Difference) -> dict[str, Any]:
    here, there = (float(v) if isinstance(v, np.floating) else v for v in (difference.here, difference.there))
    where = {"metric": difference.metric, "step": difference.step}
    return {**where, "here": here, "there": there, "relative": difference.relative}


def _steps(count: int) -> str:
    return f"{count:,} step{'s' * (count != 1)}"
