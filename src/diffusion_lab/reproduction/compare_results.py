"""What two runs came to, step by step and bit by bit. Run folders are read as data."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.manifest import weights_hash
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.checkpoints import checkpoint_path
from diffusion_lab.training.step_losses import read_step_losses

STEP_LOSS = "train/loss_step"

#: What measures the machine, and not the run.
_OF_THE_MACHINE = ("speed/", "memory/")


@dataclass(frozen=True)
class Difference:
    """A value that is not the same in two runs.

    Attributes:
        metric: its name.
        step: after how many optimizer steps; None at the end of the run.
        here, there: the value in either run; None where it has none.
    """

    metric: str
    step: int | None
    here: Any
    there: Any

    @property
    def relative(self) -> float | None:
        """The size, relative to the larger value; None if either is no finite number."""
        if not all(isinstance(value, int | float | np.floating) for value in (self.here, self.there)):
            return None
        here, there = float(self.here), float(self.there)
        if not (math.isfinite(here) and math.isfinite(there)):
            return None
        return abs(here - there) / max(abs(here), abs(there))

    def __str__(self) -> str:
        where = "in the final" if self.step is None else f"at step {self.step} in"
        return f"{where} {self.metric}: {self.values}"

    @property
    def values(self) -> str:
        """Both, and how far they are apart."""
        size = "" if self.relative is None else f" (relative {self.relative:.1e})"
        # In as few digits as tell a number from its neighbours.
        here, there = ("none" if value is None else str(value) for value in (self.here, self.there))
        return f"{here} here, {there} there{size}"


@dataclass
class Comparison:
    """What was compared, and what was not the same.

    Attributes:
        steps: how many steps both runs have.
        compared: besides the steps: ``weights``, ``metrics``, ``samples``.
        differing: how many of the steps differ in their training loss.
        largest: the largest relative difference among these, if any.
        first: the first difference of each kind, in order: in the steps, the weights, the metrics, the samples.
    """

    steps: int = 0
    compared: list[str] = field(default_factory=list)
    differing: int = 0
    largest: Difference | None = None
    first: list[Difference] = field(default_factory=list)


def compare(here: RunFolder, there: RunFolder) -> Comparison:
    """Hold all results of two runs against each other, as far as both have them.

    Where one of them has not finished, that is the steps that both have, and the weights if they were saved at the
    same step.

    Raises:
        LabError: naming the file that is damaged.
    """
    found = Comparison()
    _compare_steps(found, here, there)
    if all(folder.read_json("manifest.json").get("status") == "finished" for folder in (here, there)):
        _compare_ends(found, here, there)
    else:
        weights = [_saved_weights(folder) for folder in (here, there)]
        if None not in weights and weights[0][0] == weights[1][0]:  # type: ignore[index]
            found.compared.append("weights")
            if weights[0] != weights[1]:
                found.first.append(Difference("weights", None, weights[0][1], weights[1][1]))  # type: ignore[index]
    return found


def recorded_steps(folder: RunFolder) -> int:
    """How many steps of a run are on record, those after the last finite loss left out."""
    losses = _ledger(folder)
    logged = [step for step, loss in _rows(folder).get(STEP_LOSS, {}).items() if math.isfinite(loss)]
    return max([0, *(np.flatnonzero(np.isfinite(losses)) + 1).tolist(), *logged])


def _compare_steps(found: Comparison, here: RunFolder, there: RunFolder) -> None:
    one, other = _ledger(here), _ledger(there)
    steps = min(len(one), len(other))
    series: dict[str, list[Difference]] = {}
    if steps:
        known = ~(np.isnan(one[:steps]) | np.isnan(other[:steps]))
        differing = np.flatnonzero(known & (one[:steps] != other[:steps]))
        series[STEP_LOSS] = [Difference(STEP_LOSS, int(i) + 1, one[i], other[i]) for i in differing]
        found.steps = int(known.sum())
    rows, others = _rows(here), _rows(there)
    logged: set[int] = set()
    for metric in sorted(rows.keys() & others.keys()):
        both = sorted(rows[metric].keys() & others[metric].keys())
        logged.update(both)
        pairs = ((step, rows[metric][step], others[metric][step]) for step in both)
        differences = [Difference(metric, *pair) for pair in pairs if not _same(pair[1], pair[2])]
        series.setdefault(metric, differences)
    found.steps = found.steps or len(logged)
    found.differing = len(series.get(STEP_LOSS, []))
    found.largest = max(series.get(STEP_LOSS, []), key=lambda d: d.relative or 0.0, default=None)
    # Of several at the same step it is the loss, from which the others follow.
    firsts = [differences[0] for differences in series.values() if differences]
    if firsts:
        found.first.append(min(firsts, key=lambda d: (d.step, d.metric != STEP_LOSS)))


def _compare_ends(found: Comparison, here: RunFolder, there: RunFolder) -> None:
    one, other = (folder.read_json("manifest.json") for folder in (here, there))
    if "weights" in one and "weights" in other:
        found.compared.append("weights")
    found.first += _differing(one, other, ("steps", "weights", "ema_weights"))[:1]
    one, other = (_leaves(_without_machine(folder.read_json("metrics.json"))) for folder in (here, there))
    if one and other:
        found.compared.append("metrics")
        found.first += _differing(one, other, sorted(one.keys() | other.keys()))[:1]
    samples = [_samples(folder) for folder in (here, there)]
    if samples[0] is not None and samples[1] is not None:
        found.compared.append("samples")
        found.first += _differing_samples(samples[0], samples[1])


def _differing(here: Mapping[str, Any], there: Mapping[str, Any], keys: Iterable[str]) -> list[Difference]:
    pairs = {key: (here.get(key), there.get(key)) for key in keys}
    return [Difference(key, None, *pair) for key, pair in pairs.items() if not _same(*pair)]


def _differing_samples(here: np.ndarray, there: np.ndarray) -> list[Difference]:
    """The first number that differs, if any."""
    if here.shape != there.shape or here.dtype != there.dtype:
        kinds = (f"{list(samples.shape)} {samples.dtype}" for samples in (here, there))
        return [Difference("samples", None, *kinds)]
    differing = np.argwhere((here != there) & ~((here != here) & (there != there)))
    if not len(differing):
        return []
    index = tuple(differing[0].tolist())
    return [Difference(f"samples[{', '.join(map(str, index))}]", None, here[index], there[index])]


def _ledger(folder: RunFolder) -> np.ndarray:
    return read_step_losses(folder.path)


def _rows(folder: RunFolder) -> dict[str, dict[int, float]]:
    """Of `csv/metrics.csv`: by metric and by how many steps had been taken, what it says; the machine's left out."""
    path = folder.path / "csv" / "metrics.csv"
    found: dict[str, dict[int, float]] = {}
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step")) + 1
                for metric, value in row.items():
                    if value and metric != "epoch" and not metric.startswith(_OF_THE_MACHINE):
                        found.setdefault(metric, {})[step] = float(value)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise LabError(f"{path} is damaged: {error}") from error
    return found


def _saved_weights(folder: RunFolder) -> tuple[Any, str] | None:
    """Of the last checkpoint: its step, and the hash of its weights."""
    path = checkpoint_path(folder.path, "last")
    if not path.is_file():
        return None
    state = read_checkpoint(path)
    try:
        return state.get("global_step"), weights_hash(state["state_dict"])
    except (AttributeError, TypeError) as error:
        raise LabError(f"{path} is no checkpoint of this project: its weights are no tensors") from error


def _samples(folder: RunFolder) -> np.ndarray | None:
    path = folder.samples / "final.npy"
    if not path.is_file():
        return None
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LabError(f"{path} is damaged: {error}") from error


def _without_machine(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if not name.startswith(_OF_THE_MACHINE)}


def _leaves(node: Any, key: str = "") -> dict[str, Any]:
    """The values of a JSON document by their dotted keys."""
    if isinstance(node, dict):
        return {k: v for name, part in node.items() for k, v in _leaves(part, f"{key}.{name}" if key else name).items()}
    if isinstance(node, list):
        return {k: v for i, part in enumerate(node) for k, v in _leaves(part, f"{key}[{i}]").items()}
    return {key: node}


def _same(one: Any, other: Any) -> bool:
    return one == other or (one != one and other != other)  # NaN is no difference to NaN
