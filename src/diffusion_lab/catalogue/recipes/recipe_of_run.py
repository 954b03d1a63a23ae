"""Making the record of a recipe from a run of it."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_lab.catalogue.comparison.sample_sheets import as_pixels, sample_text, stored_images
from diffusion_lab.catalogue.recipes.recipe_record import TOKEN_BOUNDS, RecipeRecord, check_record
from diffusion_lab.config.tree import option_of, options, read_option
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.evaluation_record import EVALUATIONS, EvaluatedRun, evaluated
from diffusion_lab.run_folder.fingerprint import DECIDES_NOTHING
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.run_record import RunRecord, leaves

#: Overrides that a recipe may be run with: they choose where it runs.
_PLACE = re.compile(r"trainer=\w+|trainer\.(accelerator|devices)=.*")

#: Arguments of a sweep.
_OF_SWEEPS = ("-m", "--multirun")

#: How many samples of the run's own sampler a record keeps.
_NUM_SAMPLES = 20

#: How many characters of the first sample a record keeps.
_NUM_CHARACTERS = 240

#: What a record takes from a manifest.
_OF_MANIFEST = ("fingerprint", "weights", "parameters", "steps", "options")


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
    if any(session.get("wall_time_s") is None for session in run.sessions):
        raise LabError(f"{run.path} was killed once, and its minutes are not known: train the recipe again")
    overrides = _recipe_overrides(run)
    name = manifest["options"].get("experiment")
    if name not in options("experiment"):  # it names the file of the record
        raise LabError(f"{run.path} is of experiment={name}, and there is no such recipe")
    evaluations = [
        one for one in evaluated(run) if _is_final(one, manifest) and _is_of_test_data(one) and _is_of_seeds(one)
    ]
    if not any(_stands_in_a_table(one.content["results"]) for one in evaluations):
        raise LabError(
            f"{run.path} has not been evaluated beside test data, with two or more seeds: "
            f"scripts/evaluate.py run_dir={run.path} split=test, for text with evaluation=token_bound"
        )
    computing, versions = (run.sessions[-1].get(key) or {} for key in ("computing", "versions"))
    content = {
        "experiment": name,
        "command": _command("train", overrides),
        "fingerprint": manifest["fingerprint"],
        "weights": manifest.get("ema_weights") or manifest["weights"],
        "parameters": manifest["parameters"],
        "steps": manifest["steps"],
        "minutes": round(sum(session["wall_time_s"] for session in run.sessions) / 60, 1),
        "machine": {key: computing.get(key) for key in ("device", "name", "threads", "processes", "precision")},
        "versions": {key: versions.get(key) for key in ("python", "torch", "pytorch-lightning")},
        "config": {key: value for key, value in run.config.items() if not _decides_nothing(key)},
        "evaluations": [_evaluation(one, run) for one in evaluations],
    }
    if text := sample_text(run.path / "samples" / "final.txt", _NUM_CHARACTERS):
        content["sample"] = text
    record = RecipeRecord(name, content)
    check_record(record, run.path / EVALUATIONS)
    return record


def sample_row(run: RunRecord) -> np.ndarray | None:
    """Return samples of a run's own sampler, side by side: [H, n · W, C] uint8; None if they are text.

    Raises:
        LabError: if the samples drawn after training are not there, or are neither images nor text.
    """
    path = run.path / "samples" / "final.npy"
    samples = stored_images(path)
    if samples is not None:
        return np.concatenate(list(as_pixels(samples[:_NUM_SAMPLES])), axis=1)
    if not path.with_suffix(".txt").is_file():
        raise LabError(
            f"{path} holds neither images nor text: a recipe is recorded with the samples that are drawn after training"
        )
    return None


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
    """Whether an evaluation is of the weights that the run ended with: of their average, where it keeps one."""
    asked = evaluation.content["asked"]
    is_recorded = asked.get("weights") != "raw" or not manifest.get("ema_weights")
    return is_recorded and asked.get("step") == manifest.get("steps")


def _is_of_seeds(evaluation: EvaluatedRun) -> bool:
    """Whether the numbers have a spread: those of a single sampling seed are not for reporting."""
    results = evaluation.content["results"]
    return not any(results.get(name, {}).get("num_seeds") == 1 for name in ("quality", "text_quality"))


def _stands_in_a_table(results: Mapping[str, Any]) -> bool:
    return "quality" in results or any("nats_per_token" in results.get(name, {}) for name in TOKEN_BOUNDS)


def _is_of_test_data(evaluation: EvaluatedRun) -> bool:
    nodes = evaluation.content["asked"].get("evaluation")
    return isinstance(nodes, dict) and all(
        node.get("split", "test") == "test" for node in nodes.values() if isinstance(node, dict)
    )


def _evaluation(evaluation: EvaluatedRun, run: RunRecord) -> dict[str, Any]:
    """Return what is recorded of an evaluation; nothing in it names a place of the machine.

    The command of a sweep is kept whole: it made this evaluation, and others.
    """
    content = evaluation.content
    made_by = content.get("made_by")
    argv = made_by.get("argv", []) if isinstance(made_by, dict) else []
    flags = [argument for argument in argv[1:] if argument in _OF_SWEEPS]
    typed = [argument.lstrip("+") for argument in argv[1:] if not argument.startswith(("run_dir=", "-"))]
    where = f"run_dir=outputs/{run.name}/{run.path.name}"
    return {
        "command": _command("evaluate", [*flags, where, *map(_without_place, typed)]),
        "sampler": _sampler(content["asked"], run.config),
        "asked": _without_places(content["asked"]),
        "results": content["results"],
    }


def _sampler(asked: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return the option of the sampler with what was changed of it but its steps, what the guidance is, and the clip.

    The clip is named where it is not that of the run's own `config`: that of text holds the temperature.
    """
    node, transforms = asked.get("sampler"), asked.get("transforms")
    if not isinstance(node, dict) or "_target_" not in node:
        return ""
    option = option_of("sampler", node)
    changed = list(_words_of_sampler(node))
    guidance, clip = (transforms.get(key) if isinstance(transforms, dict) else None for key in ("guidance", "clip"))
    if isinstance(guidance, dict) and guidance.get("scale", 1) != 1:
        told = {"scale": guidance["scale"], **_changed("guidance", guidance)}
        changed += [f"guidance.{key}={value}" for key, value in told.items()]
    if dict(leaves({"clip": clip or {}})) != _of_group(config, "clip"):
        changed.append(f"clip={option_of('clip', clip) if clip else 'none'}")
        changed += [f"clip.{key}={value}" for key, value in (_changed("clip", clip) if clip else {}).items()]
    return " ".join([option, *changed])


def _words_of_sampler(node: Mapping[str, Any], key: str = "") -> Iterator[str]:
    """Yield what was changed of a sampler but its steps, and of one within it also its option."""
    for name, value in _changed("sampler", node).items():
        if isinstance(value, dict) and "_target_" in value:
            yield f"{key}{name}={option_of('sampler', value)}"
            yield from _words_of_sampler(value, f"{key}{name}.")
        elif name != "num_steps":
            yield f"{key}{name}={value}"


def _of_group(config: Mapping[str, Any], group: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key.startswith(f"{group}.")}


def _changed(group: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node of a config has other than its option."""
    option = option_of(group, node)
    usual = read_option(group, option) if option in options(group) else {}
    return {key: value for key, value in node.items() if str(usual.get(key)) != str(value)}


def _command(script: str, arguments: Sequence[str]) -> str:
    return shlex.join(["python", f"scripts/{script}.py", *arguments])


def _without_places(node: Any) -> Any:
    """Return plain content that JSON can hold, with the name of a file for each path from the file system's root."""
    if isinstance(node, dict):
        return {key: _without_places(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_places(value) for value in node]
    if isinstance(node, float) and not math.isfinite(node):
        return str(node)  # JSON has no such numbers
    return Path(node).name if isinstance(node, str) and node.startswith(("/", "~")) else node


def _without_place(override: str) -> str:
    key, equals, value = override.partition("=")
    return f"{key}{equals}{_without_places(value)}"
