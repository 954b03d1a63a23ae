"""The record of a recipe: what a run of it was, and how its evaluations beside the test data ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion_lab.machine.bounded_read import read_json
from diffusion_lab.run_folder.evaluation_record import EXTRACTOR
from diffusion_lab.run_folder.kinds import Kinds, are_mappings, check_kinds, is_mapping, is_number, matching


def _evaluations(value: Any) -> bool:
    if not are_mappings(value):
        return False
    results: list[Any] = [one.get("results") for one in value]
    return all(is_mapping(result) and are_mappings(list(result.values())) for result in results)


def _machine(value: Any) -> bool:
    return is_mapping(value) and {"name", "threads"} <= {*value}


_A_NUMBER = ("a number", is_number)

#: What tables take from a record, and from each result in it by the name of its evaluation.
_OF_RECORD: Kinds = {
    "evaluations": ("a list of mappings, each with results by evaluation", _evaluations),
    "machine": ("a mapping with a name and threads", _machine),
    "parameters": _A_NUMBER,
    "minutes": _A_NUMBER,
    "command": ("a text", matching(".*")),
    "config": ("a mapping", is_mapping),
}
_SAMPLE: Kinds = {"sample": ("a text", matching(".*"))}
_NUMBERS_OF_QUALITY = ("evaluations", "fid", "fid_floor", "kid", "kid_floor", "num_samples", "num_seeds", "num_real")
#: How the names of a measure, of its spread over seeds, and of both for real data end.
_WITH_FLOOR = ("", "_spread", "_floor", "_floor_spread")
#: What is measured on samples of text, by the headings of its columns.
TEXT_MEASURES = {
    "ngram_nll_per_character": "NLL/character",
    "entropy": "entropy",
    "distinct_4": "distinct 4-grams",
    "overlap_8": "copied 8-grams",
    "longest_copy": "longest copy",
}
#: Without characters that can be counted, there is nothing per character.
PER_CHARACTER = "ngram_nll_per_character"
_NUMBERS_OF_TEXT = (
    *(f"{name}{end}" for name in TEXT_MEASURES if name != PER_CHARACTER for end in _WITH_FLOOR),
    "evaluations",
    "num_samples",
    "num_seeds",
)
_OF_RESULTS: Mapping[str, Kinds] = {
    "quality": {EXTRACTOR: ("a text", matching(".*")), **dict.fromkeys(_NUMBERS_OF_QUALITY, _A_NUMBER)},
    "bound": dict.fromkeys(("bits_per_dim", "bits_per_dim_error"), _A_NUMBER),
    "ode": dict.fromkeys(("bits_per_dim", "bits_per_dim_error"), _A_NUMBER),
    "cas": {"accuracy": _A_NUMBER},
    "text_quality": {
        "ngram_model": ("the order of an n-gram model and its text", matching(r"\d+-gram@\w+")),
        **dict.fromkeys(_NUMBERS_OF_TEXT, _A_NUMBER),
    },
}
#: The evaluations that bound the likelihood of tokens, and what tables take from a result in nats.
TOKEN_BOUNDS = ("bound", "masked_count")
_OF_TOKENS: Kinds = dict.fromkeys(
    ("nats_per_token", "nats_per_token_error", "bits_per_token", "bits_per_token_error", "num_items", "tokens"),
    _A_NUMBER,
)
#: What is measured on samples, and what tables take from results that have it.
MEASURES = ("fid", "kid", "precision", "recall", "coverage")
_MORE_OF_RESULTS: Kinds = dict.fromkeys(
    (
        *(f"{name}{end}" for name in (*MEASURES, PER_CHARACTER) for end in _WITH_FLOOR),
        "label_accuracy",
        *(f"{unit}_per_character{end}" for unit in ("nats", "bits") for end in ("", "_error")),
        "num_items",
        "num_samples",
    ),
    _A_NUMBER,
)


@dataclass(frozen=True)
class RecipeRecord:
    """The record of a recipe: the content of its file.

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

    @property
    def data_hash(self) -> str:
        """The hash of its data, split and tokens included: two of the same class may differ."""
        fingerprint = self.content.get("fingerprint")
        return str(fingerprint.get("data", "")) if isinstance(fingerprint, Mapping) else ""

    def measured_by(self, extractor: str) -> RecipeRecord:
        """Return the record without the results of ``quality`` of other feature networks."""
        kept = [
            one
            for one in self.content["evaluations"]
            if one["results"].get("quality", {}).get(EXTRACTOR, extractor) == extractor
        ]
        return RecipeRecord(self.name, {**self.content, "evaluations": kept})

    def results(self, evaluation: str) -> Iterator[Mapping[str, Any]]:
        """Yield the results of the evaluations of this name, such as ``quality``, with the ``sampler`` of each."""
        for one in self.content["evaluations"]:
            if evaluation in one["results"]:
                yield {**one["results"][evaluation], "sampler": str(one.get("sampler", ""))}


def read_records(folder: Path) -> dict[str, RecipeRecord]:
    """Return the records in a folder, by the names of their recipes.

    Raises:
        LabError: naming a file that is no record.
    """
    records = {file.stem: RecipeRecord(file.stem, read_json(file)) for file in sorted(folder.glob("*.json"))}
    for record in records.values():
        check_record(record, folder / f"{record.name}.json")
    return records


def written(record: RecipeRecord) -> str:
    """Return the text of a record's file."""
    return json.dumps(record.content, indent=1, ensure_ascii=False) + "\n"


def check_record(record: RecipeRecord, place: Path) -> None:
    """Raise LabError if a record, or one of its results, lacks what tables take from it, or has it of another kind."""
    check_kinds(record.content, {**_OF_RECORD, **_SAMPLE}, place, needed=_OF_RECORD)
    for name in {*_OF_RESULTS, *TOKEN_BOUNDS}:
        for result in record.results(name):
            kinds = _OF_TOKENS if name in TOKEN_BOUNDS and "bits_per_dim" not in result else _OF_RESULTS[name]
            check_kinds(result, {**_MORE_OF_RESULTS, **kinds}, place, needed=[*kinds, *result])
