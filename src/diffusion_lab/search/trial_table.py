"""The table of trials that a running search shows: those that have ended, and below them those that are running."""

from __future__ import annotations

import datetime
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from diffusion_lab import console
from diffusion_lab.search.search_spec import SearchSpec
from diffusion_lab.search.trial_attributes import ERROR, RUN_FOLDER, VALIDATED_AT, first_number

#: Names of the states of trials, for people.
STATE_NAMES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


class TrialTable:
    """Prints a row for each trial when it has ended, and on a terminal redraws the running trials below these rows.

    Args:
        spec: the search.
        study: Optuna's study, which determines the best trials.
    """

    def __init__(self, spec: SearchSpec, study: Study) -> None:
        self.spec = spec
        self.study = study
        keys = [dimension.key for dimension in spec.dimensions]
        short = [key.rpartition(".")[2] for key in keys]
        self._param_names = [name if short.count(name) == 1 else key for key, name in zip(keys, short, strict=True)]
        self._printed: set[int] = set()
        self._lines_drawn = 0
        self._header_printed = False

    def skip_ended(self, trials: Sequence[FrozenTrial]) -> None:
        """Print no rows for those of these trials that have ended already."""
        self._printed = {trial.number for trial in trials if trial.state.is_finished()}

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Print the trials that have ended since the last call, and redraw the running ones."""
        self._erase()
        best = self._best(trials)
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._printed:
                self._printed.add(trial.number)
                if not self._header_printed:
                    self._header_printed = True
                    console.current().event("columns", self.header())
                number, error = first_number(trial), trial.user_attrs.get(ERROR)
                facts = {
                    "trial": number,
                    "state": STATE_NAMES[trial.state],
                    "values": dict(zip(self._labels(), trial.values or [], strict=False)),
                    "params": trial.params,
                    "seconds": _seconds(trial),
                    "error": error,
                    "trial_folder": trial.user_attrs.get(RUN_FOLDER),
                    "best": trial.number in best,
                }
                console.current().event("trial", self.row(trial, trial.number in best), **facts)
        if console.current().bar:
            self._draw(trials)

    def close(self) -> None:
        """Erase the running trials."""
        self._erase()

    def header(self) -> str:
        """Format the names of the columns."""
        cells = [f"{'trial':>5}  {'':8}", *(f"{label:>{_width(label)}}" for label in self._labels()), f"{'time':>8}"]
        return "  ".join([*cells, *(f"{name:>{_width(name)}}" for name in self._param_names)])

    def row(self, trial: FrozenTrial, best: bool = False) -> str:
        """Format one trial, with a star if it is the best one."""
        values = [_format_value(value) for value in trial.values or []]
        if trial.state == TrialState.RUNNING and trial.intermediate_values:
            values = [_format_value(trial.intermediate_values[max(trial.intermediate_values)])]
        values += [""] * (len(self.spec.objectives) - len(values))
        cells = [f"{first_number(trial):>5}{'*' if best else ' '} {STATE_NAMES[trial.state]:8}"]
        cells += [f"{value:>{_width(label)}}" for value, label in zip(values, self._labels(), strict=True)]
        cells += [f"{console.duration(_seconds(trial)):>8}"]
        params = (trial.params.get(dimension.key) for dimension in self.spec.dimensions)
        columns = zip(params, self._param_names, strict=True)
        cells += [f"{_format_value(value):>{_width(name)}}" for value, name in columns]
        if trial.state == TrialState.FAIL:
            cells.append(trial.user_attrs.get(ERROR) or "its worker was lost too often")
        elif steps := trial.user_attrs.get(VALIDATED_AT) if trial.state != TrialState.COMPLETE else None:
            cells.append(f"step {steps[-1]:,}")
        return "  ".join(cells).rstrip()

    def status(self, trials: Sequence[FrozenTrial]) -> str:
        """Format the progress of the search and its best trial, in one line."""
        text = progress(self.spec, trials)
        best = self._best(trials)
        numbers = [first_number(trial) for trial in trials if trial.number in best]
        if len(self.spec.objectives) > 1 and numbers:
            return f"{text}; on the Pareto front: {', '.join(map(str, numbers[:12]))}{' …' * (len(numbers) > 12)}"
        for trial in trials:
            if trial.number in best:
                return (
                    f"{text}; best: trial {first_number(trial)} with {self._labels()[0]} {_format_value(trial.value)}"
                )
        return text

    def _best(self, trials: Sequence[FrozenTrial]) -> set[int]:
        if len(self.spec.objectives) > 1:
            return {trial.number for trial in self.study.best_trials}
        finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        if not finished:
            return set()
        sign = 1 if self.study.direction == StudyDirection.MINIMIZE else -1
        return {min(finished, key=lambda trial: sign * trial.values[0]).number}

    def _labels(self) -> list[str]:
        return [objective.label for objective in self.spec.objectives]

    def _draw(self, trials: Sequence[FrozenTrial]) -> None:
        columns, height = shutil.get_terminal_size()
        running = [trial for trial in trials if trial.state == TrialState.RUNNING][: max(1, height - 4)]
        lines = [self.row(trial) for trial in running] + [self.status(trials)]
        if not self._header_printed:
            lines.insert(0, self.header())
        sys.stderr.write("".join(f"{line[: columns - 1]}\n" for line in lines))
        sys.stderr.flush()
        self._lines_drawn = len(lines)

    def _erase(self) -> None:
        if self._lines_drawn:
            sys.stderr.write(f"\x1b[{self._lines_drawn}A\x1b[J")
            sys.stderr.flush()
            self._lines_drawn = 0


def progress(spec: SearchSpec, trials: Sequence[FrozenTrial]) -> str:
    """Format the progress of the search: ``12 of 30 trials have ended (2 pruned, 1 failed), 2 are running``."""
    counts = {state: sum(trial.state == state for trial in trials) for state in STATE_NAMES}
    ended = sum(trial.state.is_finished() for trial in trials)
    parts = [f"{counts[s]} {STATE_NAMES[s]}" for s in (TrialState.PRUNED, TrialState.FAIL) if counts[s]]
    text = f"{ended} of {spec.n_trials} trials have ended" + (f" ({', '.join(parts)})" if parts else "")
    for state in (TrialState.RUNNING, TrialState.WAITING):
        if counts[state]:
            text += f", {counts[state]} {'is' if counts[state] == 1 else 'are'} {STATE_NAMES[state]}"
    return text


def _width(heading: str) -> int:
    return max(len(heading), 9)


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value)


def _seconds(trial: FrozenTrial) -> float:
    if trial.datetime_start is None:
        return 0.0
    return max(0.0, ((trial.datetime_complete or datetime.datetime.now()) - trial.datetime_start).total_seconds())
