"""The run folder: how a run is recorded, loaded, gone on with and compared."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusion_lab.runs.load import Run, load_run

__all__ = ["Run", "load_run"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: what only reads run folders is to answer before torch would have loaded.
    if name in __all__:
        from diffusion_lab.runs import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
