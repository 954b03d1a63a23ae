"""The figures and samples of a run, in its folder and its loggers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.config.build import Parts
from diffusion_lab.config.instantiate import make
from diffusion_lab.config.tree import options, read_option
from diffusion_lab.errors import LabError
from diffusion_lab.figures import (
    Shown,
    curves_figure,
    denoising_sheet,
    forward_sheet,
    grid_sheet,
    loss_curve,
    real_and_generated_sheet,
    save_figure,
    save_figures,
    signal_comparison,
)
from diffusion_lab.noise import Noise
from diffusion_lab.processes import DiscreteProcess
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.draws import SHOWN
from diffusion_lab.sampling import Draw, Trajectory, reconstruct
from diffusion_lab.schedules import GaussianSchedule, RateSchedule, Schedule
from diffusion_lab.training.sample_grid import DENOISING_TAG, GRID_TAG, draw_caption, run_caption

#: The step indices of the forward strip, for T = 1000.
FORWARD_INDICES = (0, 50, 150, 300, 500, 750, 999)
#: How many held-out items are searched for one that is good to show.
_SEARCHED = 64


def figures_before_training(parts: Parts, schedule_name: str, folder: RunFolder, loggers: Iterable[Any]) -> None:
    """Save the curves of the schedule, which has this name, all schedules of its family, and real data destroyed."""
    loggers = list(loggers)
    schedule = parts.process.schedule
    title = f"Schedule: {schedule_name}" + ("" if schedule.steps is None else f", T = {schedule.steps}")
    curves = curves_figure(schedule.curves(), title)
    save_figure(curves, folder.figures, "schedule", loggers, tag="schedule/curves")

    times = torch.linspace(0, 1, 1001, dtype=torch.float64)
    signals = {name: other.signal(times) for name, other in _schedules_like(schedule).items()}
    comparison = signal_comparison(signals, times, schedule.signal_label)
    save_figure(comparison, folder.figures, "schedules", loggers, tag="schedule/comparison")

    items, _ = parts.data.split("train", 4)
    noise = Noise(torch.arange(len(items)), 0, "forward strip")
    # Times of whole steps, where there are steps.
    steps = schedule.steps or 1000
    moments = [(round(i * (steps - 1) / 999) + 1) / steps for i in FORWARD_INDICES]
    codec = parts.pipeline.codec
    with torch.no_grad():
        z0 = codec.encode(items)
        states = [
            codec.decode(parts.process.sample(z0, torch.full((len(items),), t, dtype=torch.float64), noise).z_t)
            for t in moments
        ]
    sheet = forward_sheet(states, moments, schedule.steps, parts.data.item)
    save_figures(codec.show(sheet), folder.figures, "forward", loggers, tag="schedule/forward_process")


def figures_after_training(
    parts: Parts,
    folder: RunFolder,
    loggers: Iterable[Any],
    epochs: Sequence[Mapping[str, float]],
    step: int,
    drawn: Draw,
    trajectory: Trajectory,
) -> None:
    """Save the loss, a grid of samples, how they came about, and real data above them."""
    loggers = list(loggers)
    if epochs:
        loss = loss_curve(epochs, parts.module.objective.units["loss"])
        save_figure(loss, folder.figures, "loss", loggers, step, "train/loss_curve")
    codec = parts.pipeline.codec
    labels = None if drawn.condition is None else drawn.condition[:SHOWN]
    grid = grid_sheet(drawn.samples[:SHOWN], f"Samples after {step:,} steps", labels)
    save_figures(codec.show(grid), folder.figures, "samples", loggers, step, GRID_TAG)
    denoising_figures(parts, trajectory, folder.figures, folder.path, step, loggers)
    reconstruction = reconstruction_figures(parts, folder.path, step)
    save_figures(reconstruction, folder.figures, "reconstruction", loggers, step, "samples/reconstruction")
    assert parts.data.train is not None
    count = min(10, len(drawn.samples), len(parts.data.train))
    real, _ = parts.data.split("train", count)
    both = real_and_generated_sheet(real, drawn.samples[:count], parts.data.item)
    save_figures(codec.show(both), folder.figures, "real_and_generated", loggers, step, "samples/real_and_generated")


def denoising_figures(
    parts: Parts, trajectory: Trajectory, folder: Path, run: Path, step: int, loggers: Iterable[Any] = ()
) -> list[Path]:
    """Save the strip and the animation of a draw that was recorded, and return their files.

    Args:
        parts: of the run.
        trajectory: the record of the draw.
        folder: where to.
        run: the folder of the run, whose name stands in the title.
        step: how many steps the weights were trained for.
        loggers: that show the strip as well.
    """
    codec = parts.pipeline.codec
    with torch.no_grad():
        states = [codec.decode(z) for z in trajectory.states]
    steps, caption = parts.process.schedule.steps, draw_caption(run, parts.pipeline, step, trajectory)
    sheet = denoising_sheet(states, trajectory.times, steps, trajectory.confidence, caption)
    strips = save_figures(codec.show(sheet), folder, "denoising", loggers, step, DENOISING_TAG)
    moving = codec.animate(states, folder / "denoising.gif")
    return strips if moving is None else [*strips, moving]


def reconstruction_figures(parts: Parts, run: Path, step: int) -> Sequence[Shown]:
    """Return what the codec shows of real, held-out items that are destroyed, and of what the network makes of them.

    Args:
        parts: of the run.
        run: the folder of the run, whose name stands in the title.
        step: how many steps the weights were trained for.
    """
    pipeline = parts.pipeline
    if not isinstance(parts.process, DiscreteProcess):
        return []
    items, labels = parts.data.split("val", _SEARCHED)

    def reconstructed(row: int, destroyed: Tensor) -> tuple[Tensor, Tensor]:
        z0 = pipeline.codec.encode(items[row, None]).expand(destroyed.shape)
        if pipeline.labels is None or labels is None:
            return reconstruct(pipeline, z0, destroyed, None)
        return reconstruct(pipeline, z0, destroyed, labels[row].expand(len(z0)))

    caption = run_caption(run, step)
    if pipeline.plain_denoiser.block_size is not None:
        caption += "; it sees the clean blocks before each"
    return pipeline.codec.demonstrate(items, reconstructed, caption)


def _schedules_like(schedule: Schedule) -> dict[str, Schedule]:
    """Return the schedules of the config tree that are of the same family, by option, with their own defaults."""
    family = next(kind for kind in (GaussianSchedule, RateSchedule, Schedule) if isinstance(schedule, kind))
    found = {}
    for option in options("schedule"):
        try:
            other = make(read_option("schedule", option), "schedule", {})
        except LabError:  # it must be given an argument
            continue
        if isinstance(other, family):
            found[option] = other
    return found
