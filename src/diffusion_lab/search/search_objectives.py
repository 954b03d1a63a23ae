"""The objectives of a search, and how their values are read from a finished run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from diffusion_lab.config.instantiate import check_arguments
from diffusion_lab.errors import LabError, did_you_mean
from diffusion_lab.run_folder.folder import RunFolder

#: Losses: their names in an epoch of metrics.json, and in `trainer.callback_metrics` at a validation.
LOSSES = {"val/loss": "val/loss", "train/loss": "train/loss_step"}
_IN_EVERY_RUN = (*LOSSES, "seconds", "parameters")


@dataclass(frozen=True)
class Objective:
    """A metric to minimize or maximize.

    Attributes:
        metric: ``val/loss``, ``train/loss``, ``seconds`` (the run's wall time), ``parameters`` (of the network), or
            a number of an evaluation, by its path in metrics.json, such as ``recognition.samples``.
        direction: whether small or large values are better.
        of: for a loss, whether to take the last epoch's value or the best one.
    """

    metric: str
    direction: Literal["minimize", "maximize"] = "minimize"
    of: Literal["last", "best"] = "last"

    @property
    def label(self) -> str:
        """Its name in tables and figures."""
        return f"best {self.metric}" if self.of == "best" else self.metric

    def measure(self, folder: RunFolder, parameters: int) -> float:
        """Return the objective's value in a finished run.

        Args:
            folder: the run's folder.
            parameters: how many parameters the run's network has.

        Raises:
            LabError: if the run has no such value, or it is not finite.
        """
        metrics = folder.read_json("metrics.json")
        if self.metric == "seconds":
            sessions = folder.read_manifest().get("sessions", [])
            value: Any = sum(session.get("wall_time_s", 0.0) for session in sessions)
        elif self.metric == "parameters":
            value = parameters
        elif self.metric in LOSSES:
            values = [row[self.metric] for row in metrics.get("epochs", []) if self.metric in row]
            best = min if self.direction == "minimize" else max
            value = None if not values else values[-1] if self.of == "last" else best(values)
        else:
            value = metrics
            for name in self.metric.split("."):
                value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            hint = "; does trainer.check_val_every_n_epoch allow a validation?" if self.metric == "val/loss" else ""
            raise LabError(f"the run measured no {self.metric}{hint}")
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise LabError(f"{self.metric} is {value}, which is not a finite number")
        return float(value)


def read_objectives(nodes: Sequence[Mapping[str, Any]], evaluations: Collection[str]) -> list[Objective]:
    """Return the objectives of a config.

    Args:
        nodes: the config's ``search.objectives``.
        evaluations: the names of the entries of the config group `evaluation`.

    Raises:
        LabError: if one is invalid; the message names its key.
    """
    if not nodes:
        raise LabError("search.objectives is empty: name a metric, e.g. [{metric: val/loss, direction: minimize}]")
    found = []
    for index, node in enumerate(nodes):
        key = f"search.objectives[{index}]"
        if not isinstance(node, Mapping):
            raise LabError(f"{key}={node}: it must be a mapping, e.g. {{metric: val/loss, direction: minimize}}")
        check_arguments(Objective, node, key, {})
        objective = Objective(**node)
        name, dot, rest = objective.metric.partition(".")
        if objective.metric not in _IN_EVERY_RUN and not (name in evaluations and dot and rest):
            known = [*_IN_EVERY_RUN, *(f"{evaluation}.…" for evaluation in evaluations)]
            guess = did_you_mean(objective.metric, known) or ","
            more = "" if evaluations else " (evaluation=recognition gives recognition.samples)"
            raise LabError(
                f"{key}.metric={objective.metric} is not measured{guess} choose from {', '.join(known)}{more}"
            )
        if objective.of == "best" and objective.metric not in LOSSES:
            raise LabError(f"{key}.of=best: only losses have a value for each epoch, {objective.metric} has one")
        found.append(objective)
    labels = [objective.label for objective in found]
    if len(set(labels)) < len(labels):
        raise LabError(f"search.objectives names {', '.join(labels)}: each may appear only once")
    return found
