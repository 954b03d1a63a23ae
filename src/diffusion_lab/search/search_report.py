"""What a search says of itself at its start and at its end, and the figures it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from diffusion_lab import console
from diffusion_lab.console import Row
from diffusion_lab.errors import LabError
from diffusion_lab.figures import save_figure
from diffusion_lab.figures.search_figures import (
    Slice,
    search_history,
    search_importances,
    search_pareto,
    search_slices,
)
from diffusion_lab.run_folder import command_lines
from diffusion_lab.search.plan import Plan
from diffusion_lab.search.study import ERROR, RUN_FOLDER, SharedStudy, first_number, shown_url, with_driver
from diffusion_lab.search.trial_table import progress


def rows(plan: Plan, workers: int, before: str) -> list[Row]:
    """The table that a search starts with."""
    goals = [f"{objective.direction} {objective.label}" for objective in plan.objectives]
    who = f"{plan.n_trials} trials by {workers} worker{'s' * (workers > 1)}; {plan.sampler} chooses"
    who += "" if plan.pruner == "none" or len(goals) > 1 else f", {plan.pruner} prunes"
    facts = {"name": plan.name, "n_trials": plan.n_trials, "workers": workers}
    found = [
        Row("search", f"{plan.name}: {who}", {**facts, "sampler": plan.sampler, "pruner": plan.pruner}),
        Row("objectives" if len(goals) > 1 else "objective", ", ".join(goals), goals),
        Row("space", "\n".join(f"{key} = {text}" for key, text in plan.space.items()), plan.space),
        Row("all trials", " ".join(plan.fixed) or "as conf/train.yaml says", plan.fixed),
        Row("storage", shown_url(plan.storage), shown_url(plan.storage)),
        Row("folder", command_lines.shown(plan.folder), str(plan.folder)),
        Row("so far", before, before),
    ]
    indent = "\n" + " " * (max(len(row.label) for row in found) + 2)
    return [Row(row.label, row.text.replace("\n", indent), row.data) for row in found]


def warn(plan: Plan) -> None:
    """One line about what was asked for and cannot be."""
    if len(plan.objectives) > 1 and plan.pruner != "none":
        console.current().warning(
            f"search.pruner={plan.pruner}: Optuna prunes none of the trials where there are several objectives"
        )


def end(plan: Plan, shared: SharedStudy) -> None:
    """Tell the best trial, how to repeat it and where the figures are.

    Raises:
        LabError: if no trial finished.
    """
    trials = shared.trials()
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not finished:
        why = [trial.user_attrs[ERROR] for trial in trials if ERROR in trial.user_attrs]
        raise LabError(f"none of the {len(trials)} trials finished{f'; the last one said: {why[-1]}' if why else ''}")
    console.current().note("drawing figures")
    paths = figures(plan, shared.study, trials)
    best = shared.study.best_trials if len(plan.objectives) > 1 else [shared.study.best_trial]
    best = sorted(best, key=lambda trial: trial.values[0])
    lines = ["", progress(plan, trials)]
    if len(plan.objectives) > 1:
        lines.append(f"{len(best)} of them are on the Pareto front:")
    told = [_told(plan, trial) for trial in best]
    for facts in told:
        values = ", ".join(f"{label} {value:.6g}" for label, value in facts["values"].items())
        name = "best trial" if len(best) == 1 else "trial"
        lines += ["", f"{name} {facts['trial']}: {values}"]
        if facts["run_folder"]:
            lines.append(f"  run folder  {command_lines.shown(Path(facts['run_folder']))}")
        lines.append(f"  again       {facts['command']}")
    look = f"optuna-dashboard {shown_url(with_driver(plan.storage))}"
    lines += ["", f"figures     {command_lines.shown(paths[0].parent)}: {', '.join(path.name for path in paths)}"]
    lines += [f"dashboard   {look}"]
    where = told[0]["run_folder"] if len(plan.objectives) == 1 and told[0]["run_folder"] else plan.folder
    found = {"best": told, "figures": list(map(str, paths)), "dashboard": look}
    counts = {trial.state.name.lower(): 0 for trial in trials}
    for trial in trials:
        counts[trial.state.name.lower()] += 1
    console.current().end(Path(where), "\n".join(lines), trials=counts, **found)


def _told(plan: Plan, trial: FrozenTrial) -> dict:
    return {
        "trial": first_number(trial),
        "values": {objective.label: value for objective, value in zip(plan.objectives, trial.values, strict=True)},
        "params": trial.params,
        "run_folder": trial.user_attrs.get(RUN_FOLDER),
        "command": command_lines.typed("train", plan.overrides(trial.params)),
    }


def figures(plan: Plan, study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[Path]:
    """Draw what the trials tell, of each objective and of all, into the search's folder.

    Args:
        plan: the search.
        study: Optuna's.
        trials: those that count; one or more has finished.
    """
    folder = plan.folder / "figures"
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    single = len(plan.objectives) == 1
    paths, importances = [], {}
    for index, objective in enumerate(plan.objectives):
        suffix = "" if single else f"_{objective.label.replace('/', '_').replace(' ', '_')}"
        values = [trial.values[index] for trial in finished]
        minimize = study.directions[index] == StudyDirection.MINIMIZE
        pruned = {first_number(t): t.values[0] for t in trials if t.state == TrialState.PRUNED and t.values}
        failed = [first_number(trial) for trial in trials if trial.state == TrialState.FAIL]
        by_number = {first_number(trial): value for trial, value in zip(finished, values, strict=True)}
        history = search_history(by_number, pruned, failed, objective.label, minimize)
        paths.append(save_figure(history, folder, f"history{suffix}"))
        slices = [
            Slice(
                dimension.key,
                [trial.params[dimension.key] for trial in finished],
                dimension.log,
                (dimension.low, dimension.high),
                None if dimension.choices is None else list(dimension.choices.values()),
            )
            for dimension in plan.dimensions
        ]
        paths.append(save_figure(search_slices(slices, values, objective.label, minimize), folder, f"slices{suffix}"))
        shares = _importances(study, index)
        if shares:
            importances[objective.label] = shares
    if importances:
        paths.append(save_figure(search_importances(importances), folder, "importances"))
    if not single:
        points = {first_number(trial): trial.values for trial in finished}
        front = [first_number(trial) for trial in study.best_trials]
        labels = [objective.label for objective in plan.objectives]
        paths.append(save_figure(search_pareto(points, front, labels), folder, "pareto_front"))
    return paths


def _importances(study: optuna.Study, index: int) -> dict[str, float]:
    """The share of each key; none where the finished trials are too few or all alike."""
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: trial.values[index]
        )
    except (ValueError, RuntimeError):
        return {}
    return dict(found) if any(found.values()) else {}
