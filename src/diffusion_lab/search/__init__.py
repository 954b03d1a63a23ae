"""Many runs, to find the best of them: what Optuna asks for is trained, pruned, stored and shown."""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_lab.config.schema import SearchConfig
from diffusion_lab.errors import LabError


def search(settings: SearchConfig, typed: Sequence[str]) -> None:
    """Search as the settings say; see `diffusion_lab.search.session.search`."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise LabError("scripts/search.py needs Optuna: pip install optuna") from error
    from diffusion_lab.search.session import search as begin

    begin(settings, typed)
