"""The record of a recipe: what a run of it was, and how its evaluations beside the test data ended."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_lab.catalogue.comparison.sample_sheets import as_pixels, stored_images
from diffusion_lab.config.tree import options
from diffusion_lab.errors import LabError
from diffusion_lab.machine.bounded_read import read_json
from diffusion_lab.run_folder.evaluation_record import EVALUATIONS, EXTRACTOR, EvaluatedRun, evaluated
from diffusion_lab.run_folder.fingerprint import DECIDES_NOTHING
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.run_record import RunRecord

#: Overrides that a recipe may be run with: they choose where it runs.
_PLACE = re.compile(r"trainer=\w+|trainer\.(accelerator|devices)=.*")

#: Arguments of a sweep.
_OF_SWEEPS = ("-m", "--multirun")

#: How many samples of the run's own sampler a record keeps.
_NUM_SAMPLES = 20

#: What a record takes from a manifest.
_OF_MANIFEST = ("fingerprint", "weights", "parameters", "steps", "options")

#: What tables take from a record, and from each result of the evaluation `quality` in it.
_OF_RECORD = ("evaluations", "machine", "parameters", "minutes", "command", "config")
_OF_QUALITY = (EXTRACTOR, "evaluations", "fid", "fid_floor", "kid", "kid_floor", "num_samples", "num_seeds", "num_real")


@dataclass(frozen=True)
class RecipeRecord:
    """What is known of a recipe.

    Attributes:
        name: the option of ``experiment=``.
        content: of its JSON file.
    """

    name: str
    content: Mapping[str, Any]

    @property
    def extractors(self) -> list[str]:
        """The feature networks of the results of ``quality``, each once: numbers of two cannot be compared."""
        return list(dict.fromkeys(result[EXTRACTOR] for result in self.results("quality")))

    @property
    def data(self) -> str:
        """The class of the data module, such as MNIST."""
        return str(self.content["config"].get("data._target_", "")).rpartition(".")[2]

    def measured_by(self, extractor: str) -> RecipeRecord:
        """Return the record without the results of ``quality`` of other feature networks."""
        kept = [
            one
            for one in self.content["evaluations"]
            if one["results"].get("quality", {}).get(EXTRACTOR, extractor) == extractor
        ]
        return RecipeRecord(self.name, {**self.content, "evaluations": kept})

    def results(self, evaluation: str) -> Iterator[Mapping[str, Any]]:
        """Yield the results of the evaluations of this name, such as ``quality``."""
        for one in self.content["evaluations"]:
            if evaluation in one["results"]:
                yield one["results"][evaluation]


def read_records(folder: Path) -> dict[str, RecipeRecord]:
    """Return the records in a folder, by the names of their recipes.

    Raises:
        LabError: naming a file that is no record.
    """
    records = {file.stem: RecipeRecord(file.stem, read_json(file)) for file in sorted(folder.glob("*.json"))}
    for record in records.values():
        _check(record, folder / f"{record.name}.json")
    return records


def record_of(run: RunRecord) -> RecipeRecord:
    """Return the record of a finished run.

    Raises:
        LabError: if the run has not finished, is of no recipe as it stands, or was not evaluated beside test data.
    """
    if run.state != "finished":
        raise LabError(f"{run.path} is {run.state}: a recipe is recorded when it has finished")
    manifest = run.manifest
    if lacking := [key for key in _OF_MANIFEST if not manifest.get(key)]:
        raise LabError(f"{run.path}/manifest.json does not say {', '.join(lacking)}: train the recipe again")
    overrides = _recipe_overrides(run)
    name = manifest["options"].get("experiment")
    if name not in options("experiment"):  # it names the file of the record
        raise LabError(f"{run.path} is of experiment={name}, and there is no such recipe")
    evaluations = [one for one in evaluated(run) if _is_final(one, manifest) and _is_of_test_data(one)]
    if not any("quality" in one.content["results"] for one in evaluations):
        raise LabError(
            f"{run.path} has not been evaluated beside test data: scripts/evaluate.py run_dir={run.path} split=test"
        )
    computing = run.sessions[-1].get("computing") or {}
    content = {
        "experiment": name,
        "command": _command("train", overrides),
        "fingerprint": manifest["fingerprint"],
        "weights": manifest.get("ema_weights") or manifest["weights"],
        "parameters": manifest["parameters"],
        "steps": manifest["steps"],
        "minutes": round(sum(session["wall_time_s"] for session in run.sessions) / 60, 1),
        "machine": {key: computing.get(key) for key in ("device", "name", "threads", "processes", "precision")},
        "versions": {key: run.sessions[-1]["versions"][key] for key in ("python", "torch", "pytorch-lightning")},
        "config": {key: value for key, value in run.config.items() if not _decides_nothing(key)},
        "evaluations": [_evaluation(one, run) for one in evaluations],
    }
    record = RecipeRecord(name, content)
    _check(record, run.path / EVALUATIONS)
    return record


def sample_row(run: RunRecord) -> np.ndarray:
    """Return samples of a run's own sampler, side by side: [H, n · W, C] uint8.

    Raises:
        LabError: if the samples drawn after training are not there, or are no images.
    """
    path = run.path / "samples" / "final.npy"
    samples = stored_images(path)
    if samples is None:
        raise LabError(f"{path} holds no images: a recipe is recorded with the samples that are drawn after training")
    return np.concatenate(list(as_pixels(samples[:_NUM_SAMPLES])), axis=1)


def written(record: RecipeRecord) -> str:
    """Return the text of a record's file."""
    return json.dumps(record.content, indent=1, ensure_ascii=False) + "\n"


def _check(record: RecipeRecord, place: Path) -> None:
    """Raise LabError if a record, or one of its results, lacks what tables take from it."""
    lacking = [key for key in _OF_RECORD if key not in record.content]
    if not lacking:
        lacking = [key for result in record.results("quality") for key in _OF_QUALITY if key not in result]
    if lacking:
        raise LabError(f"{place} is damaged: it does not say {', '.join(dict.fromkeys(lacking))}")


def _recipe_overrides(run: RunRecord) -> list[str]:
    """Return the overrides that made a run, without those that decide nothing.

    Raises:
        LabError: if one of them changes the recipe.
    """
    kept = []
    for override in RunFolder.open(run.path).read_overrides():
        key = override.partition("=")[0].lstrip("+~")
        if _decides_nothing(key):
            continue
        if key != "experiment" and not _PLACE.fullmatch(override):
            raise LabError(f"{run.path} was trained with {override}: a recipe is recorded as it stands")
        kept.append(override)
    if not any(override.startswith("experiment=") for override in kept):
        raise LabError(f"{run.path} was trained without experiment=, so it is a run of no recipe")
    return kept


def _decides_nothing(key: str) -> bool:
    return any(key == idle or key.startswith(f"{idle}.") for idle in DECIDES_NOTHING)


def _is_final(evaluation: EvaluatedRun, manifest: Mapping[str, Any]) -> bool:
    """Whether an evaluation is of the weights that the run ended with."""
    return evaluation.content["asked"].get("step") == manifest.get("steps")


def _is_of_test_data(evaluation: EvaluatedRun) -> bool:
    nodes = evaluation.content["asked"].get("evaluation") or {}
    return all(node.get("split", "test") == "test" for node in nodes.values() if isinstance(node, Mapping))


def _evaluation(evaluation: EvaluatedRun, run: RunRecord) -> dict[str, Any]:
    """Return what is recorded of an evaluation; nothing in it names a place of the machine.

    The command of a sweep is kept whole: it made this evaluation, and others.
    """
    content = evaluation.content
    argv = (content.get("made_by") or {}).get("argv") or []
    flags = [argument for argument in argv[1:] if argument in _OF_SWEEPS]
    typed = [argument.lstrip("+") for argument in argv[1:] if not argument.startswith(("run_dir=", "-"))]
    where = f"run_dir=outputs/{run.name}/{run.path.name}"
    return {
        "command": _command("evaluate", [*flags, where, *map(_without_place, typed)]),
        "asked": _without_places(content["asked"]),
        "results": content["results"],
    }


def _command(script: str, arguments: Sequence[str]) -> str:
    return shlex.join(["python", f"scripts/{script}.py", *arguments])


def _without_places(node: Any) -> Any:
    """Return plain content in which paths that start at the root of the file system are names of files."""
    if isinstance(node, dict):
        return {key: _without_places(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_places(value) for value in node]
    return Path(node).name if isinstance(node, str) and node.startswith(("/", "~")) else node


def _without_place(override: str) -> str:
    key, equals, value = override.partition("=")
    return f"{key}{equals}{_without_places(value)}"
