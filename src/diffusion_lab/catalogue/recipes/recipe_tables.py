"""Tables of recipes in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from diffusion_lab.catalogue.recipes.quality_tables import quality_tables
from diffusion_lab.catalogue.recipes.recipe_record import RecipeRecord
from diffusion_lab.catalogue.recipes.token_tables import token_tables


def recipe_tables(records: Mapping[str, RecipeRecord], recipes: Mapping[str, str]) -> str:
    """Return the tables.

    A recipe without a record has a row in the first table of its data, or is named in a line at the end if none is.

    Args:
        records: by the names of their recipes.
        recipes: the class of the data of every recipe, such as MNIST, by the recipe's name.

    Raises:
        LabError: if records of one table cannot be compared.
    """
    lacking: dict[str, list[str]] = {}
    for name, data in recipes.items():
        if name not in records:
            lacking.setdefault(data, []).append(name)
    parts = [*quality_tables(records.values(), lacking), *token_tables(records.values(), lacking)]
    if left := sorted(f"`{name}`" for names in lacking.values() for name in names):
        parts.append(f"Not run for these tables: {', '.join(left)}.")
    return "\n\n".join(parts) + "\n"
