"""Read the results that a run recorded. Run folders are untrusted: their files are read as data and never run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffusion_lab.errors import LabError
from diffusion_lab.machine.bounded_read import open_bounded, read_csv
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.manifest import weights_hash
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.checkpoints import checkpoint_path
from diffusion_lab.training.step_losses import read_step_losses

STEP_LOSS = "train/loss_step"

#: Prefixes of metrics that measure the machine and not the run.
_MACHINE_PREFIXES = ("speed/", "memory/")


@dataclass(frozen=True)
class LastCheckpoint:
    """The optimizer step at which a checkpoint was saved, and the hash of its weights."""

    step: Any
    weights: str


def recorded_steps(folder: RunFolder) -> int:
    """Return the number of steps that a run recorded, up to its last finite loss."""
    losses = read_step_losses(folder.path)
    logged = [step for step, loss in logged_metrics(folder).get(STEP_LOSS, {}).items() if math.isfinite(loss)]
    return max([0, *(np.flatnonzero(np.isfinite(losses)) + 1).tolist(), *logged])


def logged_metrics(folder: RunFolder) -> dict[str, dict[int, float]]:
    """Return the values in `csv/metrics.csv` by metric and number of optimizer steps, without those of the machine."""
    path = folder.path / "csv" / "metrics.csv"
    found: dict[str, dict[int, float]] = {}
    try:
        for row in read_csv(path):
            step = int(row.pop("step")) + 1
            for metric, value in row.items():
                if value and metric != "epoch" and not metric.startswith(_MACHINE_PREFIXES):
                    found.setdefault(metric, {})[step] = float(value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{path} is damaged: {error}") from error
    return found


def last_checkpoint(folder: RunFolder) -> LastCheckpoint | None:
    """Return the step and the weights' hash of a run's last checkpoint; None if there is none."""
    path = checkpoint_path(folder.path, "last")
    if not path.is_file():
        return None
    state = read_checkpoint(path)  # its weights are tensors
    return LastCheckpoint(state.get("global_step"), weights_hash(state["state_dict"]))


def final_samples(folder: RunFolder) -> np.ndarray | None:
    """Return the samples drawn at the end of training; None if there are none."""
    path = folder.samples / "final.npy"
    if not path.is_file():
        return None
    try:
        with open_bounded(path):  # a file whose header declares more than it holds is refused by the map
            return np.array(np.lib.format.open_memmap(path, mode="r"))
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise LabError(f"{path} is damaged: {error}") from error


def final_metrics(folder: RunFolder) -> dict[str, Any]:
    """Return the leaves of `metrics.json` by key, such as ``epochs[1].val/loss``, without those of the machine."""
    metrics = folder.read_json("metrics.json")
    return _flatten({name: value for name, value in metrics.items() if not name.startswith(_MACHINE_PREFIXES)})


def _flatten(node: Any, key: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        parts = [_flatten(part, f"{key}.{name}" if key else name) for name, part in node.items()]
    elif isinstance(node, list):
        parts = [_flatten(part, f"{key}[{i}]") for i, part in enumerate(node)]
    else:
        return {key: node}
    return {k: v for part in parts for k, v in part.items()}
