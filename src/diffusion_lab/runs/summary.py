"""The summary at the end of a run: losses, files, and commands to go on with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusion_lab import console
from diffusion_lab.run_folder import command_lines
from diffusion_lab.run_folder.folder import RunFolder

_LOSSES = {"train/loss": "training loss", "val/loss": "validation loss"}


#: What a person reads about a training that ended before its limits of epochs and steps.
_ENDS = {"max_time": "time was up (trainer.max_time)", "early_stopping": "stopped early"}


def show_summary(
    folder: RunFolder, outputs: Path, metrics: Mapping[str, Any], seconds: float, stopped_by: str | None = None
) -> None:
    """Show the console the summary of a finished run.

    Args:
        folder: the run's folder.
        outputs: the folder of all runs.
        metrics: the content of `metrics.json`.
        seconds: the wall time of this session.
        stopped_by: what ended it before its limits of epochs and steps; see `time_limit.stopped_by`.
    """
    epochs = metrics["epochs"]
    # The last epoch may not have been validated.
    losses = {key: next((row[key] for row in reversed(epochs) if key in row), None) for key in _LOSSES}
    reached = [f"{name} {console.loss(loss)}" for key, name in _LOSSES.items() if (loss := losses[key]) is not None]
    places = {
        "figures": sorted(folder.figures.iterdir()) if folder.figures.is_dir() else [],
        "samples": sorted(folder.samples.glob("[!.]*")) if folder.samples.is_dir() else [],
        "checkpoints": sorted((folder.path / "checkpoints").glob("*.ckpt")),
        "profile": sorted(folder.path.glob("*profile*")),
    }
    next_commands = {"sample": command_lines.sample(folder)}
    if (folder.path / "tensorboard").is_dir():
        next_commands["tensorboard"] = command_lines.tensorboard(folder, outputs)

    end = [f"{_ENDS[stopped_by]} after {metrics['step']:,} steps"] if stopped_by else []
    lines = ["", ", ".join([*end, *reached, f"in {console.duration(seconds)}"])]
    lines += [_where(name, paths) for name, paths in places.items() if paths]
    lines += ["", *next_commands.values()]
    console.current().end(
        folder.path,
        "\n".join(lines),
        seconds=seconds,
        stopped_by=stopped_by,
        metrics={key: value for key, value in metrics.items() if key != "epochs"} | losses,
        **{name: list(map(str, paths)) for name, paths in places.items() if paths},
        commands=next_commands,
    )


def _where(name: str, paths: list[Path]) -> str:
    return f"{name:13}{command_lines.shown(paths[0].parent)}: {', '.join(path.name for path in paths)}"
