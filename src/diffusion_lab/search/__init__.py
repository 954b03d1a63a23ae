"""Hyperparameter search with Optuna: many training runs, of which the best are found."""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_lab.config.schema import SearchConfig
from diffusion_lab.errors import LabError


def search(settings: SearchConfig, typed: Sequence[str]) -> None:
    """Run the search that `settings` describe; see `diffusion_lab.search.session.search`.

    Raises:
        LabError: also if Optuna is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise LabError("scripts/search.py needs Optuna: pip install optuna") from error
    from diffusion_lab.search.session import search as search_with_optuna

    search_with_optuna(settings, typed)
