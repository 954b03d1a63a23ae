"""The figures and metrics of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusion_lab.config.build import Parts
from diffusion_lab.config.schema import Sampling
from diffusion_lab.figures import (
    animation,
    denoising_strip,
    forward_strip,
    image_grid,
    loss_curve,
    real_and_generated,
    save_figure,
    schedule_comparison,
    schedule_curves,
)
from diffusion_lab.noise import Noise
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sampling import Trajectory
from diffusion_lab.schedules import CosineSchedule, DiscreteSchedule, LinearSchedule
from diffusion_lab.training.sample_grid import DENOISING_TAG, GRID_TAG, grid_steps

#: The step indices of the forward strip, for T = 1000.
FORWARD_INDICES = (0, 50, 150, 300, 500, 750, 999)
ANIMATION_FRAMES = 50
SHOWN = 64


def figures_before_training(parts: Parts, folder: RunFolder, loggers: Iterable[Any]) -> None:
    """The schedule's curves, and real images noised by it."""
    loggers = list(loggers)
    schedule = parts.process.schedule
    both = {"linear": LinearSchedule().alpha_bar, "cosine": CosineSchedule().alpha_bar}
    save_figure(
        schedule_comparison(both), folder.figures, "linear_and_cosine", loggers, tag="schedule/linear_and_cosine"
    )
    if not isinstance(schedule, DiscreteSchedule):
        return
    name = type(schedule).__name__.removesuffix("Schedule").lower()
    curves = schedule_curves(schedule.betas, schedule.alpha_bar, name)
    save_figure(curves, folder.figures, "schedule", loggers, tag="schedule/curves")

    assert parts.data.train is not None
    images = parts.data.train.normalized(4)
    noise = Noise(torch.arange(len(images)), 0, "forward strip").normal(images.shape[1:])
    indices = [round(i * (schedule.steps - 1) / 999) for i in FORWARD_INDICES]
    states = []
    for index in indices:
        t = torch.full((len(images),), (index + 1) / schedule.steps, dtype=torch.float64)
        states.append(parts.process.mix(images, t, noise).z_t)
    save_figure(forward_strip(states, indices), folder.figures, "forward", loggers, tag="schedule/forward_process")


def figures_after_training(
    parts: Parts,
    folder: RunFolder,
    loggers: Iterable[Any],
    epochs: Sequence[Mapping[str, float]],
    step: int,
    sampling: Sampling,
    progress: bool,
) -> Tensor:
    """The loss, a grid of samples, how they came about, and real ones above them. Returns the samples.

    With `progress` a bar shows how far the draw has come.
    """
    loggers = list(loggers)
    if epochs:
        save_figure(loss_curve(epochs), folder.figures, "loss", loggers, step, "train/loss_curve")
    trajectory = Trajectory(ANIMATION_FRAMES, keep=min(SHOWN, sampling.num_samples))
    samples = parts.pipeline.sample(
        sampling.num_samples, sampling.seed, sampling.batch_size, trajectory, progress=progress
    )
    grid = image_grid(samples[:SHOWN], f"Samples after {step:,} steps")
    save_figure(grid, folder.figures, "samples", loggers, step, GRID_TAG)
    denoising_figures(parts, trajectory, folder.figures, loggers, step)
    assert parts.data.train is not None
    count = min(10, len(samples), len(parts.data.train))
    real = parts.data.train.normalized(count)
    both = real_and_generated(real, samples[:count])
    save_figure(both, folder.figures, "real_and_generated", loggers, step, "samples/real_and_generated")
    save_samples(samples, folder.samples / "final.npy")
    return samples


def denoising_figures(
    parts: Parts, trajectory: Trajectory, folder: Path, loggers: Iterable[Any] = (), step: int = 0
) -> None:
    """The strip and the GIF of a draw that was recorded."""
    states = [parts.pipeline.codec.decode(z) for z in trajectory.states]
    figure = denoising_strip(states, trajectory.times, grid_steps(parts.pipeline))
    save_figure(figure, folder, "denoising", loggers, step, DENOISING_TAG)
    animation(states, folder / "denoising.gif")


def save_samples(samples: Tensor, path: Path) -> None:
    """Write [N, C, H, W] float32 in [−1, 1] as a NumPy array file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, samples.numpy())
