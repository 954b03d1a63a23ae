"""The processes of the other ranks, which rank 0 starts."""

from __future__ import annotations

import sys

import pytorch_lightning as pl
from pytorch_lightning.strategies import ParallelStrategy

from diffusion_lab import console
from diffusion_lab.errors import printable
from diffusion_lab.machine.rank_launcher import RankLauncher
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.manifest import Manifest


def use_rank_processes(folder: RunFolder, trainer: pl.Trainer, manifest: Manifest) -> None:
    """Make the trainer start its other processes as `rank_process`, whatever this process was started with.

    A process that is lost ends the run as failed.
    """

    def on_lost(lost: str) -> None:
        manifest.end_session("failed", error=lost)
        console.current().stopped("failed", lost)
        print(printable(f"Error: {lost}"), file=sys.stderr, flush=True)

    strategy = trainer.strategy
    if isinstance(strategy, ParallelStrategy) and strategy.launcher is not None:
        command = [sys.executable, "-m", "diffusion_lab.runs.rank_process", str(folder.path)]
        strategy._launcher = RankLauncher(strategy, command, on_lost)
