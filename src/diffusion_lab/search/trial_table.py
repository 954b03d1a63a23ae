"""What a search looks like while it runs: a row for each trial that has ended, and below them those under way."""

from __future__ import annotations

import datetime
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from diffusion_lab import console
from diffusion_lab.search.plan import Plan
from diffusion_lab.search.study import ERROR, RUN_FOLDER, VALIDATED_AT, first_number

WORDS = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Table:
    """Says a line for each trial once it has ended; on a terminal, those that run are drawn below, again and again.

    Args:
        plan: the search.
        study: Optuna's, for the best trial.
    """

    def __init__(self, plan: Plan, study: Study) -> None:
        self.plan = plan
        self.study = study
        last = [dimension.key.rpartition(".")[2] for dimension in plan.dimensions]
        self._heads = [
            key.rpartition(".")[2] if last.count(key.rpartition(".")[2]) == 1 else key
            for key in (dimension.key for dimension in plan.dimensions)
        ]
        self._told: set[int] = set()
        self._drawn = 0
        self._headed = False

    def begin(self, trials: Sequence[FrozenTrial]) -> None:
        """These trials were there before; those that have ended are not told again."""
        self._told = {trial.number for trial in trials if trial.state in _ENDED}

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Tell what has changed."""
        self._erase()
        best = self._best(trials)
        for trial in trials:
            if trial.state in _ENDED and trial.number not in self._told:
                self._told.add(trial.number)
                if not self._headed:
                    self._headed = True
                    console.current().event("columns", self.header())
                number, error = first_number(trial), trial.user_attrs.get(ERROR)
                facts = {
                    "trial": number,
                    "state": WORDS[trial.state],
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
        """Take the live part away."""
        self._erase()

    def header(self) -> str:
        """The names of the columns."""
        cells = [f"{'trial':>5}  {'':8}", *(f"{label:>{_width(label)}}" for label in self._labels()), f"{'time':>8}"]
        return "  ".join([*cells, *(f"{head:>{_width(head)}}" for head in self._heads)])

    def row(self, trial: FrozenTrial, best: bool = False) -> str:
        """One trial."""
        values = [_number(value) for value in trial.values or []]
        if trial.state == TrialState.RUNNING and trial.intermediate_values:
            values = [_number(trial.intermediate_values[max(trial.intermediate_values)])]
        values += [""] * (len(self.plan.objectives) - len(values))
        cells = [f"{first_number(trial):>5}{'*' if best else ' '} {WORDS[trial.state]:8}"]
        cells += [f"{value:>{_width(label)}}" for value, label in zip(values, self._labels(), strict=True)]
        cells += [f"{console.duration(_seconds(trial)):>8}"]
        params = (trial.params.get(dimension.key) for dimension in self.plan.dimensions)
        cells += [f"{_number(value):>{_width(head)}}" for value, head in zip(params, self._heads, strict=True)]
        if trial.state == TrialState.FAIL:
            cells.append(trial.user_attrs.get(ERROR) or "its worker was lost again and again")
        elif steps := trial.user_attrs.get(VALIDATED_AT) if trial.state != TrialState.COMPLETE else None:
            cells.append(f"step {steps[-1]:,}")
        return "  ".join(cells).rstrip()

    def status(self, trials: Sequence[FrozenTrial]) -> str:
        """How far the search has come, in one line."""
        text = progress(self.plan, trials)
        best = self._best(trials)
        numbers = [first_number(trial) for trial in trials if trial.number in best]
        if len(self.plan.objectives) > 1 and numbers:
            return f"{text}; on the Pareto front: {', '.join(map(str, numbers[:12]))}{' …' * (len(numbers) > 12)}"
        for trial in trials:
            if trial.number in best:
                return f"{text}; best: trial {first_number(trial)} with {self._labels()[0]} {_number(trial.value)}"
        return text

    def _best(self, trials: Sequence[FrozenTrial]) -> set[int]:
        if len(self.plan.objectives) > 1:
            return {trial.number for trial in self.study.best_trials}
        finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        if not finished:
            return set()
        sign = 1 if self.study.direction == StudyDirection.MINIMIZE else -1
        return {min(finished, key=lambda trial: sign * trial.values[0]).number}

    def _labels(self) -> list[str]:
        return [objective.label for objective in self.plan.objectives]

    def _draw(self, trials: Sequence[FrozenTrial]) -> None:
        columns, height = shutil.get_terminal_size()
        under_way = [trial for trial in trials if trial.state == TrialState.RUNNING][: max(1, height - 4)]
        lines = [self.row(trial) for trial in under_way] + [self.status(trials)]
        if not self._headed:
            lines.insert(0, self.header())
        sys.stderr.write("".join(f"{line[: columns - 1]}\n" for line in lines))
        sys.stderr.flush()
        self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            sys.stderr.write(f"\x1b[{self._drawn}A\x1b[J")
            sys.stderr.flush()
            self._drawn = 0


def progress(plan: Plan, trials: Sequence[FrozenTrial]) -> str:
    """``12 of 30 trials have ended (2 pruned, 1 failed), 2 are running``."""
    counts = {state: sum(trial.state == state for trial in trials) for state in WORDS}
    ended = sum(counts[state] for state in _ENDED)
    parts = [f"{counts[s]} {WORDS[s]}" for s in (TrialState.PRUNED, TrialState.FAIL) if counts[s]]
    text = f"{ended} of {plan.n_trials} trials have ended" + (f" ({', '.join(parts)})" if parts else "")
    for state in (TrialState.RUNNING, TrialState.WAITING):
        if counts[state]:
            text += f", {counts[state]} {'is' if counts[state] == 1 else 'are'} {WORDS[state]}"
    return text


def _width(head: str) -> int:
    return max(len(head), 9)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value)


def _seconds(trial: FrozenTrial) -> float:
    if trial.datetime_start is None:
        return 0.0
    return max(0.0, ((trial.datetime_complete or datetime.datetime.now()) - trial.datetime_start).total_seconds())
