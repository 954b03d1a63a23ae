"""The order of the rows, and the remarks on how runs were averaged, what differs and what was left out."""

import pytest

from diffusion_lab.catalogue.comparison.comparison import build_comparison
from diffusion_lab.catalogue.find import find_runs
from fake_runs import fake_run

ONE_RUN = "There is one run in each row: only more seeds can show how much of a difference is chance."
SPREAD = "± is the standard deviation over the runs of a row; the interval of the mean is a bootstrap interval."
RANGE = " With three runs or fewer, that interval is only the range from the lowest to the highest."


def compared(outputs, metric="val/loss", **options):
    return build_comparison(find_runs([outputs]), [], [metric], **options)


def loss_remark(what):
    return (
        f"A loss is a mean over the noise levels and targets of its own run: where {what}, it does not show which "
        "samples are better."
    )


@pytest.mark.parametrize(
    ("number", "said"), [(1, ONE_RUN), (2, SPREAD + RANGE), (3, SPREAD + RANGE), (4, SPREAD)], ids=["1", "2", "3", "4"]
)
def test_networks_that_differ_are_compared_with_one_remark_on_their_spread(tmp_path, number, said):
    for channels in (8, 16):
        for seed in range(number):
            fake_run(tmp_path, channels=channels, seed=seed)
    assert compared(tmp_path).remarks == [said]


def test_the_spread_is_that_of_the_row_with_the_most_runs(tmp_path):
    for channels, seed in ((8, 1), (16, 1), (16, 2)):
        fake_run(tmp_path, channels=channels, seed=seed)
    assert compared(tmp_path).remarks == [SPREAD + RANGE]


def test_a_loss_depends_on_the_schedule_and_the_objective_but_not_on_the_network(tmp_path):
    fake_run(tmp_path, channels=8, schedule="linear", objective={"_target_": "lab.Simple"})
    fake_run(tmp_path, channels=16, schedule="cosine", objective={"_target_": "lab.Simple"})
    assert compared(tmp_path).remarks == [loss_remark("schedule differs"), ONE_RUN]
    fake_run(tmp_path, channels=32, schedule="cosine", objective={"_target_": "lab.VLB"})
    assert compared(tmp_path).remarks == [loss_remark("schedule, objective differ"), ONE_RUN]


def test_a_loss_depends_on_what_is_averaged_over_too(tmp_path):
    for channels, schedule in ((8, "linear"), (8, "cosine"), (16, "linear"), (16, "cosine")):
        fake_run(tmp_path, channels=channels, schedule=schedule)
    assert compared(tmp_path, by=["network.base_channels"]).remarks == [
        loss_remark("schedule differs"),
        SPREAD + RANGE,
        "Averaged over schedule.",
    ]


def test_columns_that_are_not_shown_are_named(tmp_path):
    for number in range(2):
        fake_run(tmp_path, folder=f"{number}", extra=dict.fromkeys("abcdefg", number))
    others = ", ".join(f"extra.{letter}" for letter in "bcdefg")
    assert compared(tmp_path).remarks == [ONE_RUN, f"These keys differ, too, but are not shown as columns: {others}."]


def test_runs_without_the_metric_are_named_up_to_five(tmp_path):
    for seed in range(7):
        path = fake_run(tmp_path, seed=seed, folder=f"run{seed}")
        if seed:
            (path / "metrics.json").write_text("{}")
    said = "Not in the mean, since val/loss is missing or not finite: run1, run2, run3, run4, run5"
    assert compared(tmp_path).remarks[1:] == [f"{said} and 1 more."]
    (tmp_path / "fake" / "run6" / "metrics.json").write_text('{"val/loss": 0.5}')
    assert compared(tmp_path).remarks[1:] == [f"{said}."]


def test_the_commits_of_runs_are_counted_where_they_differ(tmp_path):
    commits = [{"commit": "a" * 40, "dirty": False}] * 3 + [{"commit": "a" * 40, "dirty": True}] * 2
    for seed, git in enumerate(commits):
        fake_run(tmp_path, seed=seed, session={"git": git})
    assert compared(tmp_path).remarks[1:] == ["The code differs; runs by commit: 3 with aaaaaaaaa, 2 with aaaaaaaaa*."]
    fake_run(tmp_path, seed=9, session={"git": None})
    assert compared(tmp_path).remarks[1:] == [
        "The code differs; runs by commit: 3 with aaaaaaaaa, 2 with aaaaaaaaa*, 1 with an unknown commit."
    ]


def test_rows_sorted_by_a_column_have_numbers_by_size_and_then_words(tmp_path):
    for seed, value in enumerate(("wide", 10, 0.5, -3, None, 9, "auto")):
        fake_run(tmp_path, seed=seed, extra={"value": value})
    found = compared(tmp_path, sort="extra.value").rows
    assert [row.column_values["extra.value"] for row in found] == ["-3", "0.5", "9", "10", "auto", "null", "wide"]


def test_rows_without_the_metric_come_last_whichever_direction_is_better(tmp_path):
    for channels, loss in ((8, 0.6), (16, None), (32, 0.5)):
        path = fake_run(tmp_path, channels=channels, loss=loss or 1.0)
        if loss is None:
            (path / "metrics.json").write_text("{}")
    for direction, order in (("lower", ["32", "8", "16"]), ("higher", ["8", "32", "16"])):
        found = compared(tmp_path, direction=direction)
        assert [row.column_values["network.base_channels"] for row in found.rows] == order
        assert found.best is found.rows[0]
