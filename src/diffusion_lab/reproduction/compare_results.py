"""Compare the results of two runs bit by bit: every step's loss, logged metrics, final weights, metrics and samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffusion_lab.reproduction.recorded_results import (
    STEP_LOSS,
    final_metrics,
    final_samples,
    last_checkpoint,
    logged_metrics,
)
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.training.step_losses import read_step_losses


@dataclass(frozen=True)
class ResultDifference:
    """A value that differs between two runs.

    Attributes:
        metric: name.
        step: number of optimizer steps after which it was recorded; None for a final value.
        here, there: the value in either run; None if the run has none.
    """

    metric: str
    step: int | None
    here: Any
    there: Any

    @property
    def relative(self) -> float | None:
        """The size relative to the larger value; None unless both are finite numbers."""
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
        """Both values and their relative difference, as text."""
        size = "" if self.relative is None else f" (relative {self.relative:.1e})"
        # str writes as many digits as distinguish a number from its neighbours in its own precision.
        here, there = ("none" if value is None else str(value) for value in (self.here, self.there))
        return f"{here} here, {there} there{size}"


@dataclass(kw_only=True)
class ResultComparison:
    """The results that were compared, and their differences.

    Attributes:
        steps: number of steps that both runs recorded.
        compared: what was compared besides the steps: ``weights``, ``metrics``, ``samples``.
        differing_steps: number of steps with different training losses.
        largest_difference: the largest relative difference between these losses, if any.
        first_differences: the first difference in the steps, the weights, the metrics and the samples, in this order.
    """

    steps: int
    compared: list[str] = field(default_factory=list)
    differing_steps: int
    largest_difference: ResultDifference | None = None
    first_differences: list[ResultDifference] = field(default_factory=list)


def compare_results(here: RunFolder, there: RunFolder) -> ResultComparison:
    """Compare all results that both runs have.

    Unless both have finished, these are the steps that both have, and the weights if both saved them at the same step.

    Args:
        here: the new run.
        there: the recorded one.

    Raises:
        LabError: naming the file that is damaged.
    """
    comparison = _compare_steps(here, there)
    if all(folder.read_manifest().get("status") == "finished" for folder in (here, there)):
        _compare_final_results(comparison, here, there)
    else:
        checkpoint_here, checkpoint_there = last_checkpoint(here), last_checkpoint(there)
        if checkpoint_here and checkpoint_there and checkpoint_here.step == checkpoint_there.step:
            comparison.compared.append("weights")
            hashes = checkpoint_here.weights, checkpoint_there.weights
            if hashes[0] != hashes[1]:
                comparison.first_differences.append(ResultDifference("weights", None, *hashes))
    return comparison


def _compare_steps(here: RunFolder, there: RunFolder) -> ResultComparison:
    losses_here, losses_there = (read_step_losses(folder.path) for folder in (here, there))
    recorded = min(len(losses_here), len(losses_there))
    losses_here, losses_there = losses_here[:recorded], losses_there[:recorded]
    known = ~(np.isnan(losses_here) | np.isnan(losses_there))
    differing = np.flatnonzero(known & (losses_here != losses_there))
    differences: dict[str, list[ResultDifference]] = {}  # by metric, in the order of the steps
    if known.any():  # otherwise the logged losses of some steps are compared
        differences[STEP_LOSS] = [
            ResultDifference(STEP_LOSS, int(i) + 1, losses_here[i], losses_there[i]) for i in differing
        ]
    logged_here, logged_there = logged_metrics(here), logged_metrics(there)
    logged_steps: set[int] = set()
    for metric in sorted(logged_here.keys() & logged_there.keys()):
        common_steps = sorted(logged_here[metric].keys() & logged_there[metric].keys())
        logged_steps.update(common_steps)
        pairs = ((step, logged_here[metric][step], logged_there[metric][step]) for step in common_steps)
        logged_differences = [ResultDifference(metric, *pair) for pair in pairs if not _same(pair[1], pair[2])]
        differences.setdefault(metric, logged_differences)
    loss_differences = differences.get(STEP_LOSS, [])
    firsts = [found[0] for found in differences.values() if found]
    # If several metrics differ first at the same step, the loss is named, since the others follow from it.
    first = min(firsts, key=lambda d: (d.step, d.metric != STEP_LOSS), default=None)
    return ResultComparison(
        steps=int(known.sum()) or len(logged_steps),
        differing_steps=len(loss_differences),
        largest_difference=max(loss_differences, key=lambda d: d.relative or 0.0, default=None),
        first_differences=[] if first is None else [first],
    )


def _compare_final_results(comparison: ResultComparison, here: RunFolder, there: RunFolder) -> None:
    manifest_here, manifest_there = (folder.read_manifest() for folder in (here, there))
    if "weights" in manifest_here and "weights" in manifest_there:
        comparison.compared.append("weights")
    manifest_keys = ("steps", "weights", "ema_weights")
    comparison.first_differences += _value_differences(manifest_here, manifest_there, manifest_keys)[:1]
    metrics_here, metrics_there = (final_metrics(folder) for folder in (here, there))
    if metrics_here and metrics_there:
        comparison.compared.append("metrics")
        names = sorted(metrics_here | metrics_there)
        comparison.first_differences += _value_differences(metrics_here, metrics_there, names)[:1]
    samples_here, samples_there = final_samples(here), final_samples(there)
    if samples_here is not None and samples_there is not None:
        comparison.compared.append("samples")
        comparison.first_differences += _sample_differences(samples_here, samples_there)


def _value_differences(
    here: Mapping[str, Any], there: Mapping[str, Any], keys: Iterable[str]
) -> list[ResultDifference]:
    pairs = {key: (here.get(key), there.get(key)) for key in keys}
    return [ResultDifference(key, None, *pair) for key, pair in pairs.items() if not _same(*pair)]


def _sample_differences(here: np.ndarray, there: np.ndarray) -> list[ResultDifference]:
    """The first number that differs, if any."""
    if here.shape != there.shape or here.dtype != there.dtype:
        kinds = (f"{list(array.shape)} {array.dtype}" for array in (here, there))
        return [ResultDifference("samples", None, *kinds)]
    differing = np.argwhere((here != there) & ~((here != here) & (there != there)))
    if not len(differing):
        return []
    index = tuple(differing[0])
    return [ResultDifference(f"samples[{', '.join(map(str, index))}]", None, here[index], there[index])]


def _same(one: Any, other: Any) -> bool:
    return one == other or (one != one and other != other)  # NaN equals NaN here
