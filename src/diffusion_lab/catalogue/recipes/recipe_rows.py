"""The common parts of the tables of recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from diffusion_lab.catalogue.recipes.recipe_record import RecipeRecord


def markdown_table(headings: Sequence[str], texts: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """Return a table of the headings that have a cell in a row; columns but those of `texts` are set to the right."""
    shown = [heading for heading in headings if any(row.get(heading) for row in rows)]
    lines = [shown, ["---" if heading in texts else "---:" for heading in shown]]
    lines += [[row.get(heading) or "–" for heading in shown] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def not_run(lacking: dict[str, list[str]], data: str, heading: str) -> list[dict[str, str]]:
    """Take the recipes of this data out of those that have no record, and return the row of each."""
    return [{"recipe": f"`{name}`", heading: "not run"} for name in lacking.pop(data, [])]


def of_most(
    record: RecipeRecord, evaluation: str, count: str, order: Callable[[Mapping[str, Any]], float]
) -> Mapping[str, Any]:
    """Return the first in `order` of the results that most items were taken for; empty for none.

    Of estimates of one number the order is that of their errors: the lowest of them would be low because of its error.
    """
    return min(record.results(evaluation), key=lambda one: (-one.get(count, 0), order(one)), default={})


def places(records: Iterable[RecipeRecord]) -> str:
    """Return on what the records were trained."""
    machines = {(record.content["machine"]["threads"], record.content["machine"]["name"]) for record in records}
    return ", ".join(f"{n} thread{'' if n == 1 else 's'} of {name}" for n, name in sorted(machines, key=str))
