"""Evaluations of a trained model: at the end of training, and of any run later (scripts/evaluate.py)."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from diffusion_lab import console
from diffusion_lab.codecs import Codec
from diffusion_lab.config.build import TRANSFORMS, Parts
from diffusion_lab.config.instantiate import checked_call, make
from diffusion_lab.config.reader_schema import EvaluateConfig
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.evaluation import Evaluation, Result, Splits, Subject
from diffusion_lab.figures import Sheet, save_figure
from diffusion_lab.machine.allocator import keep_freed_memory
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.machine.compilation import compile_network
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.metrics.own_features import OwnFeatures
from diffusion_lab.run_folder.command_lines import shown
from diffusion_lab.run_folder.environment import hardware, versions
from diffusion_lab.run_folder.evaluation_record import EVALUATIONS
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.git_patch import GitError, working_tree
from diffusion_lab.run_folder.manifest import weights_hash
from diffusion_lab.runs.draw_processes import DrawOrder, DrawProcesses
from diffusion_lab.runs.draws import sampler_words, transforms_of
from diffusion_lab.runs.evaluation_subject import RunSubject
from diffusion_lab.runs.load import Run, load_run
from diffusion_lab.runs.stored_draws import StoredDraws
from diffusion_lab.sampling import Draw

#: Options that most evaluations have, and that can be typed once for all of them.
_COMMON = ("num_samples", "seeds", "split")


def run_evaluations(evaluations: Mapping[str, Evaluation | None], subject: Subject) -> dict[str, Result]:
    """Return the result of each evaluation of a model, by its name.

    Raises:
        LabError: naming an evaluation that does not go with the data.
    """
    results = {}
    for name, evaluation in evaluations.items():
        if evaluation is None:
            continue
        console.current().note(f"evaluation: {name}")
        result = evaluation(subject)
        results[name] = result
        console.current().event("evaluation", result.summary(), name=name, **result.as_dict())
    return results


def evaluate(settings: EvaluateConfig) -> Path:
    """Evaluate a run, and return the file of the results; what was evaluated already is not evaluated again.

    Raises:
        LabError: naming the key that does not fit.
    """
    silence_library_warnings()
    keep_freed_memory()
    with console.use(make(settings.console, "console", {}, None)):
        return _evaluate(settings)


def _evaluate(settings: EvaluateConfig) -> Path:
    nodes = _typed_for_all(settings)
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
    features = make(settings.features, "features", {"data_dir": run.settings.paths.data_dir}, None)
    evaluations = make(nodes, "evaluation", {"features": features}, None)
    _check_samplers_matter(settings, changes, evaluations)
    asked = {**facts, "seed": settings.seed, "evaluation": nodes, "features": settings.features}
    if (file_hash := features.file_hash()) is not None:  # the file may be another one under the same name
        asked["features_hash"] = file_hash
    file = run.folder.path / EVALUATIONS / f"{_words(facts)}_{_short_hash(asked)}.json"
    if file.is_file() and not settings.again:
        text = f"{shown(file)} is there already: again=true evaluates anew"
        console.current().end(file, text, run_folder=run.folder.path)
        return file
    run.parts.data.prepare_data()
    run.parts.data.setup()
    for name, evaluation in evaluations.items():
        if evaluation is not None:
            checked_call(functools.partial(evaluation.check, run.parts.data), f"evaluation.{name}")
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


def _check_samplers_matter(
    settings: EvaluateConfig, changes: Mapping[str, Any], evaluations: Mapping[str, Evaluation | None]
) -> None:
    """Raise LabError if something was typed about samples, and no evaluation draws any."""
    if any(evaluation is not None and evaluation.draws for evaluation in evaluations.values()):
        return
    typed = [f"{group}=" for group in changes]
    if settings.precision != "32-true":
        typed.append(f"precision={settings.precision}")
    if typed:
        names = ", ".join(name for name, evaluation in evaluations.items() if evaluation is not None)
        raise LabError(f"{', '.join(typed)} would change nothing: the evaluations asked for ({names}) draw no samples")


def make_evaluations(settings: TrainConfig) -> dict[str, Any]:
    """Return the evaluations of a training run by name; their features are the data's own."""
    own = OwnFeatures(settings.paths.data_dir)
    made: dict[str, Any] = make(settings.evaluation, "evaluation", {"features": own}, settings.allowed_targets)
    return made


def split_warning(nodes: Mapping[str, Any], data: Splits) -> str | None:
    """Return a warning if evaluations are to choose by a validation split that is the test split; None otherwise."""
    chosen_by = [name for name, node in nodes.items() if isinstance(node, Mapping) and node.get("split") == "val"]
    if not chosen_by or data.val is not data.test:
        return None
    names = ", ".join(chosen_by)
    return f"split=val ({names}): this run validates on its test split, so what is chosen by it has no test left"


def with_common_options(evaluations: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes of evaluations with options that were typed for all of them, in those that have them."""
    return {
        name: {**node, **{key: value for key, value in typed.items() if key in node}} if node else node
        for name, node in evaluations.items()
    }


def evaluate_now(
    settings: TrainConfig,
    parts: Parts,
    folder: RunFolder,
    step: int,
    bar: bool,
    drawn: Draw | None = None,
    on_step: Callable[[object], None] | None = None,
) -> dict[str, Result]:
    """Evaluate the weights that are in use while a run trains, as its settings say.

    Args:
        settings: of the run.
        parts: of the run; the data must be there.
        folder: of the run.
        step: how many optimizer steps the weights have seen.
        bar: whether progress bars may be shown.
        drawn: samples that were drawn anyway, with the first sampling seed.
        on_step: is called after each sampling step.
    """
    weights = "ema" if settings.ema else "raw"
    facts = draw_facts(settings, weights, parts, step, "32-true", settings.sampling.batch_size)
    stored = stored_draws(folder, facts, on_step)
    count, seed = settings.sampling.num_samples, settings.sampling.seed
    subject = RunSubject(parts.pipeline, parts.data, stored, count, seed, bar, drawn)
    try:
        results = run_evaluations(make_evaluations(settings), subject)
    except RunInterrupted:  # the weights will have changed when it would go on
        stored.remove()
        raise
    stored.remove_asked()
    return results


def save_result_figures(results: Mapping[str, Result], codec: Codec, folder: Path) -> list[Path]:
    """Save the figures of results as ``<evaluation>_<figure>`` in `folder`, and return their files."""
    files = []
    for name, result in results.items():
        for figure, content in result.figures().items():
            drawn = codec.show(content) if isinstance(content, Sheet) else content
            files.append(save_figure(drawn, folder, f"{name}_{figure}"))
    return files


def draw_facts(
    settings: TrainConfig, weights: str, parts: Parts, step: int, precision: str, batch_size: int
) -> dict[str, Any]:
    """Return what decides the samples of a seed."""
    return {
        "sampler": settings.sampler,
        "grid": settings.grid,
        "transforms": transforms_of(settings),
        "weights": weights,
        "weights_hash": weights_hash(parts.module.state_dict()),
        "step": step,
        "precision": precision,
        "batch_size": batch_size,
    }


def stored_draws(
    folder: RunFolder, facts: Mapping[str, Any], on_step: Callable[[object], None] | None = None
) -> StoredDraws:
    """Return the place in a run folder of the draws that `draw_facts` decide."""
    place = folder.path / EVALUATIONS / f"draws_{_short_hash(facts)}"
    return StoredDraws(place, facts["batch_size"], facts["precision"], on_step)


def _typed_for_all(settings: EvaluateConfig) -> dict[str, Any]:
    """Return the nodes of the evaluations with the options that were typed for all of them.

    Raises:
        LabError: naming an option that none of them has.
    """
    typed = {key: getattr(settings, key) for key in _COMMON if getattr(settings, key) is not None}
    for key, value in typed.items():
        if not any(isinstance(node, Mapping) and key in node for node in settings.evaluation.values()):
            raise LabError(f"{key}={value}: none of the evaluations ({', '.join(settings.evaluation)}) has it")
    return with_common_options(settings.evaluation, typed)


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


def _short_hash(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, default=dict)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


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
