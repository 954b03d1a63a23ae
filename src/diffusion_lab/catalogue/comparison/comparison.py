"""A comparison of runs: rows in their order, the numbers that are shown, and what can be said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from diffusion_lab.catalogue.comparison.groups import Group, Grouping, grouped
from diffusion_lab.catalogue.comparison.verdict import Verdict, verdict
from diffusion_lab.catalogue.metric_names import lower_is_better, no_metric
from diffusion_lab.errors import LabError, unknown_key
from diffusion_lab.run_folder.run_record import RunRecord, plain

#: The parts of a config that decide what its loss is the mean of.
_MEANING_OF_LOSS = ("data", "data (hash)", "codec", "schedule", "process", "parameterization", "objective")


@dataclass(frozen=True)
class Comparison:
    """What all tables and the page are made from.

    Attributes:
        grouping: the rows as they were found, and the columns.
        rows: the rows in the order that was asked for.
        best: the row with the best mean of the first metric.
        metrics: that are shown; the first one ranks.
        all_metrics: that any run has.
        lower: whether lower is better, of the first metric.
        verdict: of the first metric.
        words: what can be said, a sentence or two each.
    """

    grouping: Grouping
    rows: list[Group]
    best: Group
    metrics: list[str]
    all_metrics: list[str]
    lower: bool
    verdict: Verdict
    words: list[str]


def comparison(
    runs: Sequence[RunRecord],
    left_out: Sequence[tuple[RunRecord, str]],
    metrics: Sequence[str],
    direction: str | None = None,
    by: Sequence[str] = (),
    sort: str = "metric",
) -> Comparison:
    """Compare `runs`, the newer ones last.

    Args:
        runs: at least one.
        left_out: runs that are not compared, and why: for the record.
        metrics: names; the first one ranks.
        direction: lower or higher is better; None: as is known of the metric.
        by: the columns that make the rows; empty for all.
        sort: ``metric``, or a column.

    Raises:
        LabError: naming a metric or a column that there is not.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for metric in metrics:
        if metric not in known:
            raise LabError(no_metric(metric, known))
    lower = lower_is_better(metrics[0], direction)
    grouping = grouped(runs, by)
    ranked = _ranked(grouping.groups, metrics[0], lower)
    rows = ranked
    if sort != "metric":
        if sort not in grouping.columns:
            raise LabError(f"sort={sort}: {unknown_key(sort, ['metric', *grouping.columns])}")
        rows = sorted(ranked, key=lambda group: _natural(group.values[sort]))
    found = verdict(ranked, metrics[0], lower, ["seed", *grouping.averaged])
    repeated = [(run, "since a newer run has its config and seed") for run in grouping.repeated]
    words = [found.sentence, *_remarks(grouping, metrics[0], [*left_out, *repeated])]
    return Comparison(grouping, rows, ranked[0], list(metrics), known, lower, found, words)


def _ranked(groups: Sequence[Group], metric: str, lower: bool) -> list[Group]:
    """The best first; those without the metric last."""

    def place(group: Group) -> tuple[bool, float]:
        found = group.summary(metric)
        return found is None, (found.mean if lower else -found.mean) if found else 0.0

    return sorted(groups, key=place)


def _natural(text: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


def _remarks(grouping: Grouping, metric: str, left_out: Sequence[tuple[RunRecord, str]]) -> list[str]:
    said = []
    meaning = [key for key in grouping.columns + grouping.averaged if key.partition(".")[0] in _MEANING_OF_LOSS]
    if meaning and "loss" in metric:
        said.append(
            f"A loss is a mean over its own run's noise levels and targets: where {', '.join(meaning)} "
            f"{'differ' if len(meaning) > 1 else 'differs'}, it says little of which samples are better."
        )
    most = max(len(group.runs) for group in grouping.groups)
    if most == 1:
        said.append("There is one run in each row: how much of a difference is chance, only more seeds can tell.")
    else:
        said.append("± is the standard deviation over the runs of a row; the interval of the mean is a bootstrap.")
    if 1 < most <= 3:
        said[-1] += " With three runs or fewer it is the range from the lowest to the highest: take it as a hint."
    if hidden := [column for column in grouping.columns if column not in grouping.telling]:
        said.append(f"These keys differ, too, and have no column: {', '.join(hidden)}.")
    if grouping.averaged:
        said.append(f"Averaged over {', '.join(grouping.averaged)}.")
    lost = [run for group in grouping.groups for unit, run in group.runs.items() if unit not in group.numbers(metric)]
    if lost:
        said.append(f"Not in the mean, for its {metric} is missing or not finite: {_listed(lost)}.")
    reasons: dict[str, list[RunRecord]] = {}
    for run, reason in left_out:
        reasons.setdefault(reason, []).append(run)
    said += [f"Left out, {reason}: {_listed(found)}." for reason, found in reasons.items()]
    commits = Counter(_commit(run) for group in grouping.groups for run in group.runs.values())
    if len(commits) > 1:
        said.append("The code differs: " + ", ".join(f"{n} of {commit}" for commit, n in commits.most_common()) + ".")
    return said


def _listed(runs: Sequence[RunRecord]) -> str:
    names = [plain(run.path.name) for run in runs]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _commit(run: RunRecord) -> str:
    """The commit of a run's last session; ``*`` where the working tree was not that."""
    git = run.sessions[-1].get("git") if run.sessions else None
    if not isinstance(git, dict) or not git.get("commit"):
        return "an unknown commit"
    return plain(git["commit"])[:9] + ("*" if git.get("dirty") else "")
