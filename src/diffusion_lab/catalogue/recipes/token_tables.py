"""Recipes by the likelihood of tokens: a table for each text and kind of token."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diffusion_lab.catalogue.number_format import format_mean
from diffusion_lab.catalogue.recipes.recipe_record import TOKEN_BOUNDS, RecipeRecord
from diffusion_lab.catalogue.recipes.recipe_rows import markdown_table, not_run, of_most, places
from diffusion_lab.catalogue.recipes.text_quality_tables import ngram_floors, text_quality_tables

_HEADINGS = (
    "recipe",
    "nats/character",
    "by counts of masks",
    "bits/character",
    "bits/token",
    "parameters",
    "steps",
    "minutes of training",
)

#: The columns of text; numbers are set to the right.
_TEXTS = ("recipe",)


def token_tables(records: Iterable[RecipeRecord], lacking: dict[str, list[str]]) -> list[str]:
    """Return for each text and kind of token a table, and the sentence below it.

    Args:
        records: of recipes of any kind.
        lacking: recipes that have no record, by their data; those that get a row are taken out.

    Raises:
        LabError: if records of one table cannot be compared.
    """
    found: dict[tuple[str, str], list[RecipeRecord]] = {}
    for record in records:
        if _bound(record):
            found.setdefault((record.data, record.data_hash), []).append(record)
    parts = []
    for (data, _), mine in found.items():
        mine.sort(key=_nats)
        rows = [(_nats(record), _row(record)) for record in mine]
        floors = ngram_floors(mine)
        rows += [(nats, _floor_row(name, nats, spread)) for name, (nats, spread) in floors.items()]
        rows.sort(key=lambda pair: pair[0])
        cells = [*(row for _, row in rows), *not_run(lacking, data, _HEADINGS[1])]
        parts += [markdown_table(_HEADINGS, _TEXTS, cells), _below(data, mine, bool(floors))]
        parts += [*text_quality_tables(mine), _samples(mine)]
    return parts


def _bound(record: RecipeRecord, estimator: str = TOKEN_BOUNDS[0]) -> Mapping[str, Any]:
    """Return the result of an estimator of the bound; empty for none."""
    found = of_most(record, estimator, "num_items", lambda one: one.get("nats_per_token_error", math.inf))
    return found if "nats_per_token" in found else {}


def _nats(record: RecipeRecord) -> float:
    """Return the bound in the unit that is shown: nats per character, or per token where there are no characters."""
    bound = _bound(record)
    return float(bound.get("nats_per_character", bound["nats_per_token"]))


def _row(record: RecipeRecord) -> dict[str, str]:
    """Return the cells of a recipe by their headings, empty where it has none."""
    bound = _bound(record)
    return {
        "recipe": f"`{record.name}`",
        "nats/character": _number(bound, "nats_per_character"),
        "by counts of masks": _number(_bound(record, TOKEN_BOUNDS[1]), "nats_per_character"),
        "bits/character": _number(bound, "bits_per_character"),
        "bits/token": "" if "bits_per_character" in bound else _number(bound, "bits_per_token"),
        "parameters": f"{record.content['parameters']:,}",
        "steps": f"{record.content['steps']:,}",
        "minutes of training": f"{record.content['minutes']:.0f}",
    }


def _floor_row(name: str, nats: float, spread: float) -> dict[str, str]:
    """Return the cells of an n-gram model."""
    bits = format_mean(nats / math.log(2), spread / math.log(2))
    return {"recipe": f"*{name}*", "nats/character": format_mean(nats, spread), "bits/character": bits}


def _number(result: Mapping[str, Any], name: str) -> str:
    return format_mean(result[name], result[f"{name}_error"]) if name in result else ""


def _below(data: str, records: Sequence[RecipeRecord], with_floors: bool) -> str:
    """Return the sentence on how the numbers of a table came about."""
    counts = {(bound["num_items"], bound["tokens"]) for bound in map(_bound, records)}
    sequences = ", ".join(f"{items:,} sequences of {tokens:,} tokens" for items, tokens in sorted(counts))
    of_floors = (
        "; n-gram models read as many sequences as there are samples in the next table, and their ± is the standard "
        "deviation over choices of these"
    )
    return (
        f"*Bounds on the negative log-likelihood of test data of {data}: {sequences}; ± is the standard error over "
        f"sequences, and says nothing of another training{of_floors if with_floors else ''}. "
        f"Trained on {places(records)}.*"
    )


def _samples(records: Sequence[RecipeRecord]) -> str:
    """Return the first sample of each record, in a block in which nothing is read as Markdown."""
    lines = []
    for record in records:
        text = str(record.content.get("sample", "")).replace("`", "'")
        lines += [f"[{record.name}]", *("".join(filter(str.isprintable, line)) for line in text.split("\n")), ""]
    return "\n".join(["The first sample of each, as far as it fits:", "", "```text", *lines[:-1], "```"])
