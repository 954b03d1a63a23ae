"""The table that a search shows at its start, the result that it shows at its end, and its figures."""

from __future__ import annotations

from collections import Counter
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
from diffusion_lab.search.search_spec import SearchSpec
from diffusion_lab.search.storage import shown_url, with_driver
from diffusion_lab.search.study import SharedStudy
from diffusion_lab.search.trial_attributes import ERROR, RUN_FOLDER, first_number
from diffusion_lab.search.trial_table import progress


def start_rows(spec: SearchSpec, workers: int, progress_so_far: str) -> list[Row]:
    """Return the rows of the table that a search shows at its start."""
    objectives = [f"{objective.direction} {objective.label}" for objective in spec.objectives]
    text = f"{spec.n_trials} trials by {workers} worker{'s' * (workers > 1)}; sampler {spec.sampler}"
    text += "" if spec.pruner == "none" or len(objectives) > 1 else f", pruner {spec.pruner}"
    facts = {"name": spec.name, "n_trials": spec.n_trials, "workers": workers}
    found = [
        Row("search", f"{spec.name}: {text}", {**facts, "sampler": spec.sampler, "pruner": spec.pruner}),
        Row("objectives" if len(objectives) > 1 else "objective", ", ".join(objectives), objectives),
        Row("space", "\n".join(f"{key} = {text}" for key, text in spec.space.items()), spec.space),
        Row("all trials", " ".join(spec.fixed) or "no overrides", spec.fixed),
        Row("storage", shown_url(spec.storage), shown_url(spec.storage)),
        Row("folder", command_lines.shown(spec.folder), str(spec.folder)),
        Row("so far", progress_so_far, progress_so_far),
    ]
    indent = "\n" + " " * (max(len(row.label) for row in found) + 2)
    return [Row(row.label, row.text.replace("\n", indent), row.data) for row in found]


def warn_of_unused_pruner(spec: SearchSpec) -> None:
    """Warn if a pruner is set for several objectives, which Optuna does not support."""
    if len(spec.objectives) > 1 and spec.pruner != "none":
        console.current().warning(
            f"search.pruner={spec.pruner} has no effect: Optuna does not prune trials with several objectives"
        )


def show_result(spec: SearchSpec, shared: SharedStudy) -> None:
    """Draw the figures, and show the best trials, the commands that repeat them and the figures' folder.

    Raises:
        LabError: if no trial finished.
    """
    trials = shared.trials()
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not finished:
        errors = [trial.user_attrs[ERROR] for trial in trials if ERROR in trial.user_attrs]
        last = f"; the last error was: {errors[-1]}" if errors else ""
        raise LabError(f"none of the {len(trials)} trials finished{last}")
    console.current().note("drawing figures")
    paths = draw_figures(spec, shared.study, trials)
    best = shared.study.best_trials if len(spec.objectives) > 1 else [shared.study.best_trial]
    best = sorted(best, key=lambda trial: trial.values[0])
    lines = ["", progress(spec, trials)]
    if len(spec.objectives) > 1:
        lines.append(f"{len(best)} of them are on the Pareto front:")
    described = [_describe(spec, trial) for trial in best]
    for facts in described:
        values = ", ".join(f"{label} {value:.6g}" for label, value in facts["values"].items())
        name = "best trial" if len(best) == 1 else "trial"
        lines += ["", f"{name} {facts['trial']}: {values}"]
        if facts["run_folder"]:
            lines.append(f"  run folder  {command_lines.shown(Path(facts['run_folder']))}")
        lines.append(f"  again       {facts['command']}")
    dashboard = f"optuna-dashboard {shown_url(with_driver(spec.storage))}"
    lines += ["", f"figures     {command_lines.shown(paths[0].parent)}: {', '.join(path.name for path in paths)}"]
    lines += [f"dashboard   {dashboard}"]
    where = described[0]["run_folder"] if len(spec.objectives) == 1 and described[0]["run_folder"] else spec.folder
    found = {"best": described, "figures": list(map(str, paths)), "dashboard": dashboard}
    counts = dict(Counter(trial.state.name.lower() for trial in trials))
    console.current().end(Path(where), "\n".join(lines), trials=counts, **found)


def _describe(spec: SearchSpec, trial: FrozenTrial) -> dict:
    return {
        "trial": first_number(trial),
        "values": {objective.label: value for objective, value in zip(spec.objectives, trial.values, strict=True)},
        "params": trial.params,
        "run_folder": trial.user_attrs.get(RUN_FOLDER),
        "command": command_lines.typed("train", spec.overrides(trial.params)),
    }


def draw_figures(spec: SearchSpec, study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[Path]:
    """Draw the figures of each objective, and those of all together, into the search's folder; return their paths.

    Args:
        spec: the search.
        study: Optuna's study.
        trials: the trials that count, of which at least one has finished.
    """
    folder = spec.folder / "figures"
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    single = len(spec.objectives) == 1
    paths, importances = [], {}
    for index, objective in enumerate(spec.objectives):
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
            for dimension in spec.dimensions
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
        labels = [objective.label for objective in spec.objectives]
        paths.append(save_figure(search_pareto(points, front, labels), folder, "pareto_front"))
    return paths


def _importances(study: optuna.Study, index: int) -> dict[str, float]:
    """Return the share of the variance that each key explains; empty if the trials are too few or too similar."""
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: trial.values[index]
        )
    except (ValueError, RuntimeError):
        return {}
    return dict(found) if any(found.values()) else {}
