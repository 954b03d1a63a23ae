"""Compare runs: rows in order, the metrics that are shown, the verdict and the remarks on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from diffusion_lab.catalogue.comparison.groups import Group, Grouping, group_runs
from diffusion_lab.catalogue.comparison.verdict import RankingVerdict, ranking_verdict
from diffusion_lab.catalogue.metric_names import lower_is_better, unknown_metric_message
from diffusion_lab.errors import LabError, unknown_key
from diffusion_lab.run_folder.run_record import RunRecord, plain

#: Parts of a config on which the meaning of a loss depends.
_LOSS_DEPENDS_ON = ("data", "data (hash)", "codec", "schedule", "process", "parameterization", "objective")


@dataclass(frozen=True)
class Comparison:
    """The content of all tables and of the page.

    Attributes:
        grouping: the rows as they were found, and the columns.
        rows: in the order that was asked for.
        best: the row with the best mean of the first metric.
        metrics: those that are shown; rows are ranked by the first one.
        all_metrics: those that any run has.
        lower_is_better: for the first metric.
        verdict: on the first metric.
        remarks: sentences on how the runs were averaged, what differs and what was left out.
    """

    grouping: Grouping
    rows: list[Group]
    best: Group
    metrics: list[str]
    all_metrics: list[str]
    lower_is_better: bool
    verdict: RankingVerdict
    remarks: list[str]

    @property
    def findings(self) -> list[str]:
        """The verdict's sentence and the remarks."""
        return [self.verdict.sentence, *self.remarks]


def build_comparison(
    runs: Sequence[RunRecord],
    left_out: Sequence[tuple[RunRecord, str]],
    metrics: Sequence[str],
    direction: str | None = None,
    by: Sequence[str] = (),
    sort: str = "metric",
) -> Comparison:
    """Compare runs.

    Args:
        runs: at least one, the newer ones last.
        left_out: runs that are not compared, with the reason, for the remarks.
        metrics: names; rows are ranked by the first one.
        direction: ``lower`` or ``higher`` is better; None: as known for the first metric.
        by: the columns that make the rows; if empty, all.
        sort: ``metric``, or a column.

    Raises:
        LabError: naming a metric or a column that does not exist.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for metric in metrics:
        if metric not in known:
            raise LabError(unknown_metric_message(metric, known))
    lower = lower_is_better(metrics[0], direction)
    grouping = group_runs(runs, by)
    ranked = _ranked(grouping.groups, metrics[0], lower)
    rows = ranked
    if sort != "metric":
        if sort not in grouping.columns:
            raise LabError(f"sort={sort}: {unknown_key(sort, ['metric', *grouping.columns])}")
        rows = sorted(ranked, key=lambda group: _numeric_order(group.column_values[sort]))
    superseded = [(run, "since a newer run has its config and seed") for run in grouping.superseded]
    return Comparison(
        grouping=grouping,
        rows=rows,
        best=ranked[0],
        metrics=list(metrics),
        all_metrics=known,
        lower_is_better=lower,
        verdict=ranking_verdict(ranked, metrics[0], lower, ["seed", *grouping.averaged_columns]),
        remarks=_remarks(grouping, metrics[0], [*left_out, *superseded]),
    )


def _ranked(groups: Sequence[Group], metric: str, lower: bool) -> list[Group]:
    """The rows by mean, the best first; those without the metric last."""

    def rank(group: Group) -> tuple[bool, float]:
        summary = group.summary(metric)
        return summary is None, (summary.mean if lower else -summary.mean) if summary else 0.0

    return sorted(groups, key=rank)


def _numeric_order(text: str) -> tuple[bool, float | str]:
    """A sort key by which numbers are ordered by size and precede other text."""
    try:
        return False, float(text)
    except ValueError:
        return True, text


def _remarks(grouping: Grouping, metric: str, left_out: Sequence[tuple[RunRecord, str]]) -> list[str]:
    remarks = []
    changing_loss = [
        key for key in grouping.columns + grouping.averaged_columns if key.partition(".")[0] in _LOSS_DEPENDS_ON
    ]
    if changing_loss and "loss" in metric:
        remarks.append(
            f"A loss is a mean over the noise levels and targets of its own run: where {', '.join(changing_loss)} "
            f"{'differ' if len(changing_loss) > 1 else 'differs'}, it does not show which samples are better."
        )
    most_runs = max(len(group.runs) for group in grouping.groups)
    if most_runs == 1:
        remarks.append("There is one run in each row: only more seeds can show how much of a difference is chance.")
    else:
        remarks.append(
            "± is the standard deviation over the runs of a row; the interval of the mean is a bootstrap interval."
        )
    if 1 < most_runs <= 3:
        remarks[-1] += " With three runs or fewer, that interval is only the range from the lowest to the highest."
    if hidden := [column for column in grouping.columns if column not in grouping.shown_columns]:
        remarks.append(f"These keys differ, too, but are not shown as columns: {', '.join(hidden)}.")
    if grouping.averaged_columns:
        remarks.append(f"Averaged over {', '.join(grouping.averaged_columns)}.")
    without_metric = [
        run for group in grouping.groups for unit, run in group.runs.items() if unit not in group.metric_values(metric)
    ]
    if without_metric:
        remarks.append(f"Not in the mean, since {metric} is missing or not finite: {_run_names(without_metric)}.")
    runs_by_reason: dict[str, list[RunRecord]] = {}
    for run, reason in left_out:
        runs_by_reason.setdefault(reason, []).append(run)
    remarks += [f"Left out, {reason}: {_run_names(runs)}." for reason, runs in runs_by_reason.items()]
    commits = Counter(_commit(run) for group in grouping.groups for run in group.runs.values())
    if len(commits) > 1:
        counts = ", ".join(f"{count} with {commit}" for commit, count in commits.most_common())
        remarks.append(f"The code differs; runs by commit: {counts}.")
    return remarks


def _run_names(runs: Sequence[RunRecord]) -> str:
    names = [plain(run.path.name) for run in runs]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _commit(run: RunRecord) -> str:
    """The commit of a run's last session, with ``*`` if there were uncommitted changes."""
    git = run.sessions[-1].get("git") if run.sessions else None
    if not isinstance(git, dict) or not git.get("commit"):
        return "an unknown commit"
    return plain(git["commit"])[:9] + ("*" if git.get("dirty") else "")
