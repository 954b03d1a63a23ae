"""Diffusion Lab: one config tree, one training module and one sampling loop for diffusion models."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusion_lab.commands.in_python import build, load_run, records, train

__all__ = ["build", "load_run", "records", "train"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that a command answers before torch is loaded.
    if name in __all__:
        from diffusion_lab.commands import in_python

        return getattr(in_python, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
