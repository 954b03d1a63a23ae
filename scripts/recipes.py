"""Record what recipes reached, and write the tables of their page: `python scripts/recipes.py`, and `--help`."""

from diffusion_lab.config.arguments import run_on_paths
from diffusion_lab.config.reader_schema import RecipesConfig


def recipes(paths: list[str], settings: RecipesConfig) -> None:
    """Record the runs in `paths`, and write tables and figures from all records."""
    from diffusion_lab.catalogue.recipes.record_recipes import record_recipes

    record_recipes(paths, settings)


if __name__ == "__main__":
    run_on_paths("recipes", RecipesConfig, recipes)
