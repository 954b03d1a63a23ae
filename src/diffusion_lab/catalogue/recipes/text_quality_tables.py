"""Recipes by the quality of their text, and what n-gram models reach on real text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_lab.catalogue.number_format import format_mean
from diffusion_lab.catalogue.recipes.recipe_record import PER_CHARACTER, TEXT_MEASURES, RecipeRecord
from diffusion_lab.catalogue.recipes.recipe_rows import markdown_table
from diffusion_lab.errors import LabError

Result = Mapping[str, Any]

#: The columns of text; numbers are set to the right.
_TEXTS = ("recipe", "sampler")

_HEADINGS = ("recipe", "sampler", "evaluations", *TEXT_MEASURES.values())


def ngram_floors(records: Sequence[RecipeRecord]) -> dict[str, tuple[float, float]]:
    """Return by the name of each n-gram model the nats per character of real text, and their spread."""
    return {
        f"{_order(model)}-gram model": _value(results[0][1], f"{PER_CHARACTER}_floor")
        for model, results in _by_model(records).items()
        if f"{PER_CHARACTER}_floor" in results[0][1]
    }


def text_quality_tables(records: Sequence[RecipeRecord]) -> list[str]:
    """Return what each recipe of one text drew as a table, with the sentence below it; nothing without samples.

    Results of the n-gram model of the highest order have a row each: none of its numbers alone says which is better.
    Recipes that were measured by a lower one alone have a table of their own.

    Raises:
        LabError: if samples of one table differ in their number or length.
    """
    parts: list[str] = []
    while by_model := _by_model(records):
        results = by_model[max(by_model, key=_order)]
        parts += _table(results)
        shown = {record.name for record, _ in results}
        records = [record for record in records if record.name not in shown]
    return parts


def _table(results: Sequence[tuple[RecipeRecord, Result]]) -> list[str]:
    sizes = {tuple(result.get(key) for key in ("num_samples", "num_seeds", "length")) for _, result in results}
    if len(sizes) != 1:
        shown = "; ".join(f"{samples} for each of {seeds} seeds, of {length}" for samples, seeds, length in sizes)
        raise LabError(
            "measures of text depend on the number and length of samples, and the recorded evaluations have different "
            f"ones: {shown} tokens"
        )
    rows = [
        {
            "recipe": f"`{record.name}`",
            "sampler": f"`{result['sampler']}`",
            "evaluations": f"{result['evaluations']:,.4g}",
            **_measures(result, ""),
        }
        for record, result in results
    ]
    _, one = results[0]
    rows.append({"recipe": "*real text*", **_measures(one, "_floor")})
    return [markdown_table(_HEADINGS, _TEXTS, rows), _below(one)]


def _by_model(records: Sequence[RecipeRecord]) -> dict[str, list[tuple[RecipeRecord, Result]]]:
    """Return the results on samples, with the record of each, by n-gram model."""
    found: dict[str, list[tuple[RecipeRecord, Result]]] = {}
    for record in records:
        for result in record.results("text_quality"):
            found.setdefault(result["ngram_model"], []).append((record, result))
    return found


def _order(model: str) -> int:
    return int(model.partition("-gram")[0])


def _measures(result: Result, ending: str) -> dict[str, str]:
    there = {name: heading for name, heading in TEXT_MEASURES.items() if f"{name}{ending}" in result}
    return {heading: format_mean(*_value(result, f"{name}{ending}")) for name, heading in there.items()}


def _value(result: Result, name: str) -> tuple[float, float]:
    """Return a measure and its spread."""
    return result[name], result[f"{name}_spread"]


def _below(result: Result) -> str:
    """Return the sentence on how the numbers came about."""
    return (
        f"*{result['num_samples']:,} samples for each of {result['num_seeds']} sampling seeds, and as many sequences "
        f"of test text; ± is the standard deviation over these. NLL is that of the n-gram model "
        f"`{result['ngram_model']}` of the training text: a low one is worth nothing where the entropy is low, too.*"
    )
