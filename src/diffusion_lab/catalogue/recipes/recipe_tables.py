"""Tables of recipes in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diffusion_lab.catalogue.recipes.quality_tables import quality_tables
from diffusion_lab.catalogue.recipes.recipe_record import RecipeRecord
from diffusion_lab.catalogue.recipes.token_tables import token_tables


def recipe_tables(records: Mapping[str, RecipeRecord], recipes: Sequence[str]) -> str:
    """Return the tables, with a line for the recipes that have no record.

    Raises:
        LabError: if records of one table cannot be compared.
    """
    parts = [*quality_tables(records.values()), *token_tables(records.values())]
    if lacking := [f"`{name}`" for name in recipes if name not in records]:
        parts.append(f"Not run for these tables: {', '.join(lacking)}.")
    return "\n\n".join(parts) + "\n"
