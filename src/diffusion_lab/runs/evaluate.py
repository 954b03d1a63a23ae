"""Evaluating a finished or interrupted run from its folder: scripts/evaluate.py."""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from diffusion_lab import console
from diffusion_lab.config.build import TRANSFORMS
from diffusion_lab.config.instantiate import make, make_one
from diffusion_lab.config.reader_schema import EvaluateConfig
from diffusion_lab.errors import LabError
from diffusion_lab.evaluation import Result
from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.environment import hardware, versions
from diffusion_lab.run_folder.evaluation_record import EVALUATIONS
from diffusion_lab.run_folder.git_patch import GitError, working_tree
from diffusion_lab.runs.draw_processes import DrawOrder, DrawProcesses
from diffusion_lab.runs.draws import sampler_words
from diffusion_lab.runs.evaluation_options import check_samplers_matter, split_warning, typed_for_all
from diffusion_lab.runs.evaluation_subject import RunSubject
from diffusion_lab.runs.evaluations import (
    check_evaluated_parts,
    check_evaluations,
    draw_facts,
    run_evaluations,
    save_result_figures,
    short_hash,
    stored_draws,
)
from diffusion_lab.runs.load import Run, load_run
from diffusion_lab.runs.resume import check_data


def evaluate(settings: EvaluateConfig) -> Path:
    """Evaluate a run, and return the file of the results; what was evaluated already is not evaluated again.

    Raises:
        LabError: naming the key that does not fit.
    """
    silence_library_warnings()
    keep_freed_memory()
    with console.use(make_one(settings.console, "console", console.Console)):
        return _evaluate(settings)


def _evaluate(settings: EvaluateConfig) -> Path:
    nodes = typed_for_all(settings)
    if not any(nodes.values()):
        raise LabError("evaluation=none leaves nothing to do: choose evaluation=quality, for example")
    groups = {group: getattr(settings, group) for group in ("sampler", "grid", *TRANSFORMS)}
    changes = {group: node for group, node in groups.items() if node is not None}
    order = DrawOrder(
        str(Path(settings.run_dir).expanduser().resolve()),
        settings.checkpoint,
        settings.weights,
        settings.device,
        changes,
        settings.batch_size,
        settings.precision,
        settings.compile,
    )
    run = load_run(order.run_dir, order.checkpoint, order.device, changes, order.weights)
    if (warning := run.parts.pipeline.warning) is not None:
        console.current().warning(warning)
    facts = draw_facts(run.settings, run.weights, run.parts, run.step, settings.precision, settings.batch_size)
    features = make(settings.features, "features", {"data_dir": run.settings.paths.data_dir})
    evaluations = make(nodes, "evaluation", {"features": features})
    check_samplers_matter(settings, changes, evaluations)
    check_evaluated_parts(evaluations, run.parts)
    asked = {**facts, "seed": settings.seed, "evaluation": nodes, "features": settings.features}
    if (file_hash := features.file_hash()) is not None:  # the file may be another one under the same name
        asked["features_hash"] = file_hash
    file = run.folder.path / EVALUATIONS / f"{_words(facts)}_{short_hash(asked)}.json"
    if file.is_file() and not settings.again:
        text = f"{shown(file)} is there already: again=true evaluates anew"
        console.current().end(file, text, run_folder=run.folder.path)
        return file
    run.parts.data.prepare_data()
    run.parts.data.setup()
    check_data(run.folder, run.parts.data)
    check_evaluations(evaluations, lambda evaluation: evaluation.check(run.parts.data))
    if (warning := split_warning(nodes, run.parts.data)) is not None:
        console.current().warning(warning)
    if settings.compile:
        compile_network(run.parts.network, next(run.parts.network.parameters()).device)
    began = time.monotonic()
    stored = stored_draws(run.folder, facts)
    if settings.again:
        stored.remove()
    _make_folder(file.parent)  # what cannot be written is said before it is computed
    order = replace(order, folder=str(stored.folder), weights_hash=facts["weights_hash"])
    with DrawProcesses(settings.processes, order) as processes:
        subject = RunSubject(
            run.parts.pipeline,
            run.parts.data,
            stored,
            run.settings.sampling.num_samples,
            settings.seed,
            console.current().bar,
            helpers=processes.start if settings.processes > 1 else None,
        )
        results = run_evaluations(evaluations, subject)
    content = {
        "asked": asked,
        "made_by": made_by(run),
        "wall_time_s": round(time.monotonic() - began, 1),
        "results": {name: dict(result.as_dict()) for name, result in results.items()},
    }
    _make_folder(file.parent)  # another evaluation may have removed it with its samples
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False, default=dict) + "\n")
    files = [file, *save_result_figures(results, run.parts.pipeline.codec, file.with_suffix(""))]
    _log(run, results, file.stem)
    stored.remove_asked()
    places = ", ".join(shown(path) for path in files)
    console.current().end(file, f"Results in {places}", run_folder=run.folder.path, files=files)
    return file


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise LabError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def made_by(run: Run) -> dict[str, Any]:
    """Return the command, the code and the machine that made a result."""
    made: dict[str, Any] = {"argv": sys.argv, "versions": versions(), "hardware": hardware()}
    made["device"] = str(next(run.parts.network.parameters()).device)
    made["time"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        tree = working_tree(Path(__file__).parent)
    except GitError:
        tree = None
    if tree is not None:
        made["git"] = {"commit": tree.commit, "dirty": bool(tree.patch or tree.left_out)}
    return made


def _words(facts: Mapping[str, Any]) -> str:
    return f"{sampler_words(facts['sampler'])}_{facts['weights']}_step{facts['step']}"


def _log(run: Run, results: Mapping[str, Result], name: str) -> None:
    """Write the numbers of an evaluation to the run's TensorBoard logs, if it keeps some, as a series of its own."""
    logs = run.folder.path / "tensorboard"
    if not logs.is_dir():
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(logs / name) as writer:
        for evaluation, result in results.items():
            for key, value in result.as_dict().items():
                if isinstance(value, int | float):
                    writer.add_scalar(f"evaluation/{evaluation}/{key}", torch.tensor(float(value)), run.step)
