"""The run folder: how a run is recorded, loaded and gone on with."""

from diffusion_lab.runs.load import Run, load_run

__all__ = ["Run", "load_run"]
