"""The verdict on the best and the second row, and the remarks on a comparison."""

import pytest

from diffusion_lab.catalogue.comparison.comparison import build_comparison
from diffusion_lab.catalogue.find import find_runs
from diffusion_lab.errors import LabError
from fake_runs import fake_run


@pytest.fixture
def compared(tmp_path):
    """A function that compares linear and cosine runs with given losses by seed."""

    def of(linear, cosine, metrics=("val/loss",), **options):
        for schedule, losses in (("linear", linear), ("cosine", cosine)):
            for seed, loss in losses.items():
                fake_run(tmp_path, schedule=schedule, seed=seed, loss=loss, recognition=1 - loss)
        return build_comparison(find_runs([tmp_path]), [], metrics, **options)

    return of


def test_a_difference_beyond_its_spread(compared):
    found = compared({1: 0.50, 2: 0.51, 3: 0.52}, {1: 0.60, 2: 0.612, 3: 0.618})
    assert found.verdict.outcome == "better"
    assert found.verdict.sentence == (
        "linear is better than cosine: val/loss is lower by 0.1000 (95 % interval 0.0980 … 0.1020; 3 runs each, "
        "paired by seed; t test: p < 0.001)."
    )
    assert found.findings[0] == found.verdict.sentence


def test_a_metric_of_which_higher_is_better(compared):
    found = compared({1: 0.60, 2: 0.61}, {1: 0.50, 2: 0.512}, ["recognition.samples"])
    assert [group.label for group in found.rows] == ["cosine", "linear"]
    assert found.verdict.sentence == (
        "cosine is better than linear: recognition.samples is higher by 0.0990 (95 % interval 0.0980 … 0.1000; 2 runs "
        "each, paired by seed; t test: p = 0.0064)."
    )


def test_a_difference_within_its_spread(compared):
    found = compared({1: 0.50, 2: 0.58, 3: 0.61}, {1: 0.60, 2: 0.55, 3: 0.57})
    assert found.verdict.outcome == "alike"
    assert found.verdict.sentence.startswith("linear and cosine cannot be told apart: val/loss is lower by 0.010 (")
    assert "95 % interval −0.040 … 0.100;" in found.verdict.sentence


def test_the_same_difference_within_its_spread_seen_from_the_other_side(compared):
    found = compared({1: 0.50, 2: 0.58, 3: 0.61}, {1: 0.60, 2: 0.55, 3: 0.57}, ["recognition.samples"])
    assert "recognition.samples is higher by 0.010 (95 % interval −0.040 … 0.100;" in found.verdict.sentence


@pytest.mark.parametrize("metric", ["val/loss", "recognition.samples"])
def test_an_interval_that_ends_at_zero_has_no_sign_there(compared, metric):
    losses = ({1: 0.5, 2: 0.5}, {1: 0.5, 2: 0.75})
    found = compared(*(losses if metric == "val/loss" else ({1: 0.5, 2: 0.75}, {1: 0.5, 2: 0.5})), [metric])
    assert found.verdict.outcome == "alike"
    assert "95 % interval 0.00 … 0.25;" in found.verdict.sentence


def test_the_interval_alone_is_not_enough_with_few_runs(compared):
    found = compared({1: 0.50, 2: 0.52, 3: 0.54}, {1: 0.51, 2: 0.60, 3: 0.65})
    assert found.verdict.outcome == "ahead"
    assert found.verdict.sentence.startswith("linear is ahead of cosine: ")
    assert found.verdict.sentence.endswith(" There are too few runs to be sure.")


def test_other_seeds_are_not_paired(compared):
    found = compared({1: 0.50, 2: 0.51, 3: 0.52}, {4: 0.80, 5: 0.81})
    assert "3 runs and 2 runs; Welch's t test: p < 0.001" in found.verdict.sentence


def test_one_run_each_may_be_chance(compared):
    found = compared({1: 0.50}, {1: 0.60})
    assert found.verdict.outcome == "unknown"
    assert found.verdict.sentence == (
        "linear has the best val/loss, before cosine by 0.1000; with 1 run each this may be chance: "
        "it takes at least two seeds each, and better five."
    )
    assert any("only more seeds can show" in line for line in found.findings)


def test_one_config_is_nothing_to_compare(compared):
    assert compared({1: 0.5, 2: 0.6}, {}).verdict.sentence == "There is only one config: there is nothing to compare."


def test_remarks_on_few_seeds_different_schedules_and_runs_left_out(compared, tmp_path):
    stopped = find_runs([fake_run(tmp_path / "other", status="interrupted")])[0]
    for seed in (1, 2):
        fake_run(tmp_path, schedule="linear", seed=seed, loss=0.4, folder="2020-01-0" + str(seed))
    lost = fake_run(tmp_path, schedule="linear", seed=7, folder="lost")
    (lost / "metrics.json").write_text("{}")
    found = compared({1: 0.5, 2: 0.6}, {1: 0.7, 2: 0.8})
    found = build_comparison(find_runs([tmp_path / "fake"]), [(stopped, "interrupted")], ["val/loss"])
    said = "\n".join(found.findings)
    assert "where schedule differ" in said
    assert "With three runs or fewer, that interval is only the range" in said
    assert "Left out, since a newer run has its config and seed: 2020-01-01, 2020-01-02." in said
    assert f"Left out, interrupted: {stopped.path.name}." in said
    assert "Not in the mean, since val/loss is missing or not finite: lost." in said


def test_no_remark_on_the_schedule_if_the_metric_is_not_a_loss(compared):
    found = compared({1: 0.5, 2: 0.6}, {1: 0.7, 2: 0.8}, ["recognition.samples"])
    assert not any("noise levels" in line for line in found.findings)


def test_rows_sorted_by_a_column_keep_the_best_row(tmp_path):
    for channels, loss in ((16, 0.5), (8, 0.6), (128, 0.4)):
        fake_run(tmp_path, channels=channels, loss=loss)
    found = build_comparison(find_runs([tmp_path]), [], ["val/loss"], sort="network.base_channels")
    assert [group.column_values["network.base_channels"] for group in found.rows] == ["8", "16", "128"]
    assert found.best is found.rows[2]


def test_unknown_metrics_and_columns_are_refused(compared):
    with pytest.raises(LabError, match=r"metric=val/los: no run has it; did you mean val/loss\? there are "):
        compared({1: 0.5}, {}, ["val/los"])
    with pytest.raises(LabError, match=r"sort=schedul: there is no key schedul; did you mean schedule\?"):
        compared({2: 0.5}, {2: 0.6}, sort="schedul")
    with pytest.raises(LabError, match="metric=step: whether lower or higher is better is unknown"):
        compared({3: 0.5}, {}, ["step"])
