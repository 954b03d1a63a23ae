"""Evaluations of the weights that are in use, with samples that are stored in the run folder batch by batch."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diffusion_lab import console
from diffusion_lab.codecs import Codec
from diffusion_lab.config.build import Parts
from diffusion_lab.config.instantiate import checked_call, make
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.evaluation import Evaluation, Result, Subject
from diffusion_lab.figures import Sheet, save_figures
from diffusion_lab.machine.available_memory import check_samples_fit
from diffusion_lab.metrics.own_features import OwnFeatures
from diffusion_lab.run_folder.evaluation_record import EVALUATIONS
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.manifest import weights_hash
from diffusion_lab.runs.draws import transforms_of
from diffusion_lab.runs.evaluation_subject import RunSubject
from diffusion_lab.runs.stored_draws import StoredDraws
from diffusion_lab.sampling import Draw


def make_evaluations(settings: TrainConfig) -> dict[str, Any]:
    """Return the evaluations of a training run by name; their features are the data's own."""
    own = OwnFeatures(settings.paths.data_dir)
    made: dict[str, Any] = make(settings.evaluation, "evaluation", {"features": own})
    return made


def check_evaluations(evaluations: Mapping[str, Evaluation | None], check: Callable[[Evaluation], None]) -> None:
    """Check each evaluation that is not null.

    Raises:
        LabError: naming the first that `check` refuses.
    """
    for name, evaluation in evaluations.items():
        if evaluation is None:
            continue
        try:
            checked_call(functools.partial(check, evaluation), f"evaluation.{name}")
        except LabError as error:
            key = f"evaluation.{name}"
            raise LabError(str(error) if str(error).startswith(key) else f"{key}: {error}") from error


def check_evaluated_parts(evaluations: Mapping[str, Evaluation | None], parts: Parts) -> None:
    """Check that each evaluation that is not null goes with the parts of a run, and that its samples fit into memory.

    Raises:
        LabError: naming the first that does not.
    """
    for name, evaluation in evaluations.items():
        count = getattr(evaluation, "num_samples", None) or 0
        check_samples_fit(f"evaluation.{name}.num_samples", count, parts.data.shape)
    check_evaluations(evaluations, lambda evaluation: evaluation.check_parts(parts.pipeline, parts.data))


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
            files += save_figures(drawn, folder, f"{name}_{figure}")
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
    place = folder.path / EVALUATIONS / f"draws_{short_hash(facts)}"
    return StoredDraws(place, facts["batch_size"], facts["precision"], on_step)


def short_hash(content: Mapping[str, Any]) -> str:
    """Return eight digits that tell plain contents apart."""
    text = json.dumps(content, sort_keys=True, default=dict)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
