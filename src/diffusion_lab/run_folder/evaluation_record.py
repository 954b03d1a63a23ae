"""Evaluations that were recorded in a run folder, read as data and without torch. They are untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from diffusion_lab.config.tree import option_of
from diffusion_lab.errors import LabError
from diffusion_lab.machine.bounded_read import read_json
from diffusion_lab.run_folder.kinds import are_mappings, are_texts, is_mapping
from diffusion_lab.run_folder.run_record import RunRecord, leaves, plain

#: The folder of evaluations in a run folder: a file for each.
EVALUATIONS = "evaluations"

#: The fact of a result that says with which feature network it was measured.
EXTRACTOR = "extractor"


def rulers(metric: str) -> tuple[str, str]:
    """Return the keys of the facts that say with which model a metric was measured, of which at most one is there.

    They are ``quality.extractor`` of ``quality.fid``, and ``text_quality.ngram_model`` of ``text_quality.ngram_nll…``.
    """
    evaluation, _, measure = metric.partition(".")
    return f"{evaluation}.{EXTRACTOR}", f"{evaluation}.{measure.partition('_')[0]}_model"


#: The parts of a run that an evaluation may replace.
_PARTS = ("sampler", "grid", "guidance", "clip")

#: What decides samples, beside the parts that drew them.
_SETTINGS = ("weights", "step", "precision")


class EvaluatedRun(RunRecord):
    """A run as one of its evaluations saw it: with the parts that drew the samples, and the numbers found.

    Args:
        path: of the run folder.
        file: of the evaluation.
    """

    def __init__(self, path: Path, file: Path) -> None:
        super().__init__(path)
        self.file = file

    @cached_property
    def content(self) -> dict[str, Any]:
        """The content of the file: ``asked``, ``made_by`` and ``results``."""
        content = read_json(self.file)
        if not _is_record(content):
            raise LabError(f"{self.file} is damaged: it is no record of an evaluation")
        return content

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config of the run, with what the evaluation chose in its place."""
        asked = self.content["asked"]
        transforms = asked.get("transforms")
        parts = {name: asked.get(name, {}) for name in _PARTS}
        parts |= transforms if isinstance(transforms, Mapping) else {}
        kept = {key: value for key, value in super().config.items() if key.partition(".")[0] not in parts}
        chosen = {name: asked.get(name) for name in _SETTINGS}
        nodes = asked.get("evaluation")
        evaluation = {"seed": asked.get("seed"), **(nodes if isinstance(nodes, Mapping) else {})}
        return kept | dict(leaves({**parts, **chosen, "evaluation": evaluation})) | self.facts

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the run, with the options of the parts that the evaluation used."""
        found, asked = super().manifest, self.content["asked"]
        nodes = {name: asked.get(name) for name in _PARTS}
        chosen = {
            name: option_of(name, node)
            for name, node in nodes.items()
            if isinstance(node, Mapping) and isinstance(node.get("_target_"), str)
        }
        return found | {"options": {**(found.get("options") or {}), **dict.fromkeys(_PARTS), **chosen}}

    @cached_property
    def found(self) -> dict[str, float]:
        """The numbers of the evaluation, by ``<its name>.<number>``."""
        numbers = leaves(self.content["results"])
        return {key: float(x) for key, x in numbers if isinstance(x, int | float) and not isinstance(x, bool)}

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The numbers of the evaluation, and those of the run."""
        return super().metrics | self.found

    @cached_property
    def facts(self) -> dict[str, str]:
        """The facts of the evaluation in words; they make columns of a comparison."""
        return {key: plain(value) for key, value in leaves(self.content["results"]) if type(value) is str}


def _is_record(content: dict[str, Any]) -> bool:
    """Whether the parts of a record that are read again are there, and of the kind that is written."""
    asked: Any = content.get("asked")
    results: Any = content.get("results")
    made_by: Any = content.get("made_by")
    argv = made_by.get("argv", []) if is_mapping(made_by) else []
    return is_mapping(asked) and is_mapping(results) and are_mappings(list(results.values())) and are_texts(argv)


def evaluated(run: RunRecord) -> list[EvaluatedRun]:
    """Return the evaluations of a run, by the name of their files."""
    return [EvaluatedRun(run.path, file) for file in sorted((run.path / EVALUATIONS).glob("*.json"))]
