"""Samples while training, always from the same noise, so that one sees them improve."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from diffusion_lab import console
from diffusion_lab.errors import LabError
from diffusion_lab.figures import denoising_sheet, grid_sheet, save_figures
from diffusion_lab.sampling import Pipeline, Trajectory
from diffusion_lab.training.epoch_interval import EpochInterval, stop_if_requested

#: One series each in TensorBoard, from the first epochs to the figures of the finished run.
GRID_TAG = "samples/grid"
DENOISING_TAG = "samples/denoising"


def run_caption(run: Path, step: int) -> str:
    """Return which run it is, and after how many steps of training."""
    return f"{run.parent.name}/{run.name} after {step:,} steps"


def draw_caption(run: Path, pipeline: Pipeline, step: int, trajectory: Trajectory) -> str:
    """Return `run_caption`, and how samples were drawn: the sampler, the steps that were taken, the temperature."""
    more = [f"{name} {value:g}" for name, value in pipeline.facts.items()]
    drawn = [type(pipeline.sampler).__name__, f"{trajectory.steps:,} steps", *more]
    return f"{run_caption(run, step)}: {', '.join(drawn)}"


class SampleGrid(EpochInterval):
    """Draws every few epochs, and shows the samples and how they came about in TensorBoard and `figures/`.

    Args:
        pipeline: draws the samples.
        every_n_epochs: how often; 0 for never.
        num_samples: how many; 1 at least. With a network that takes labels, at least one of each class is drawn.
        seed: of the noise they start from.
    """

    def __init__(self, pipeline: Pipeline, every_n_epochs: int = 5, num_samples: int = 16, seed: int = 0) -> None:
        if every_n_epochs < 0 or num_samples < 1:
            raise ValueError(
                "callbacks.samples.every_n_epochs must not be negative and num_samples at least 1, "
                f"got {every_n_epochs} and {num_samples}"
            )
        self.pipeline = pipeline
        super().__init__(every_n_epochs)
        self.num_samples = num_samples
        self.seed = seed

    def act(self, trainer: pl.Trainer, epoch: int, step: int) -> None:
        trajectory = Trajectory(frames=10, keep=4)
        count = max(self.num_samples, self.pipeline.labels or 1)
        try:
            drawn = self.pipeline.draw(count, self.seed, trajectory=trajectory, on_step=stop_if_requested(trainer))
        except LabError as error:  # early weights may diverge, and training goes on
            console.current().warning(f"no samples after {step:,} steps: {error}")
            return
        run = Path(trainer.default_root_dir)
        caption = draw_caption(run, self.pipeline, step, trajectory)
        codec, steps = self.pipeline.codec, self.pipeline.process.schedule.steps
        states = [codec.decode(z) for z in trajectory.states]
        for sheet, name, tag in (
            (grid_sheet(drawn.samples, f"Samples after {step:,} steps", drawn.condition), "samples", GRID_TAG),
            (
                denoising_sheet(states, trajectory.times, steps, trajectory.confidence, caption),
                "denoising",
                DENOISING_TAG,
            ),
        ):
            save_figures(codec.show(sheet), run / "figures", f"{name}_epoch_{epoch:04d}", trainer.loggers, step, tag)
