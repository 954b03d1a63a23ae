"""One run, from its settings to its results: train, resume, load and sample."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusion_lab.runs.load import Run, load_run

__all__ = ["Run", "load_run"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that scripts that only read run folders answer before torch is loaded.
    if name in __all__:
        from diffusion_lab.runs import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
