"""Columns for the config keys that differ, and rows for runs that differ only in the seed."""

import json

import pytest

from diffusion_lab.catalogue.comparison.groups import group_runs, shared_config
from diffusion_lab.catalogue.find import find_runs
from diffusion_lab.errors import LabError
from fake_runs import fake_run, fake_sweep


@pytest.fixture
def swept(tmp_path):
    fake_sweep(tmp_path)
    return find_runs([tmp_path])


def test_a_sweep_has_a_column_for_what_was_swept_and_a_row_for_its_seeds(swept):
    found = group_runs(swept)
    assert found.columns == ["schedule", "network.base_channels"]
    assert [group.column_values for group in found.groups] == [
        {"schedule": schedule, "network.base_channels": width}
        for schedule in ("linear", "cosine")
        for width in ("8", "16")
    ]
    assert [[run.seed for run in group.runs.values()] for group in found.groups] == [[1, 2, 3]] * 4
    assert [group.label for group in found.groups][:2] == ["linear, base_channels 8", "linear, base_channels 16"]
    assert found.superseded == []


def test_keys_without_effect_on_results_make_no_column(tmp_path):
    # Besides these, the runs of `fake_run` differ in where their data lies and in their logger.
    fake_run(tmp_path, seed=1, name="a", tags=["x"], notes="one", console={"_target_": "lab.Text"}, resume="x")
    fake_run(tmp_path, seed=2, name="b", tags=[], notes="two", console={"_target_": "lab.Json"}, resume=None)
    found = group_runs(find_runs([tmp_path]))
    assert found.columns == []
    assert [group.label for group in found.groups] == ["the only config"]
    assert len(found.groups[0].runs) == 2


def test_init_from_makes_a_column(tmp_path):
    fake_run(tmp_path, seed=1)
    fake_run(tmp_path, seed=2, init_from="/elsewhere/run")
    assert group_runs(find_runs([tmp_path])).columns == ["init_from"]


def test_an_option_s_own_arguments_make_no_column_unless_they_differ_for_one_option(tmp_path):
    fake_run(tmp_path, schedule="linear", seed=1)
    fake_run(tmp_path, schedule="cosine", seed=1)
    assert group_runs(find_runs([tmp_path])).columns == ["schedule"]
    path = fake_run(tmp_path, schedule="cosine", seed=1, folder="zzz")
    (path / "config.yaml").write_text((path / "config.yaml").read_text().replace("offset: 0.008", "offset: 0.1"))
    found = group_runs(find_runs([tmp_path]))
    assert found.columns == ["schedule", "schedule.offset"]
    assert sorted(group.column_values["schedule.offset"] for group in found.groups) == ["0.008", "0.1", "–"]


def test_values_of_different_types_differ(tmp_path):
    for seed, value in enumerate((1, True, 1.0, "1", None, [1], [1, 2])):
        fake_run(tmp_path, seed=seed, extra={"value": value})
    fake_run(tmp_path, seed=9)
    found = group_runs(find_runs([tmp_path]))
    assert found.columns == ["extra.value"]
    assert [group.column_values["extra.value"] for group in found.groups] == [
        "1",
        "true",
        "1",
        "1",
        "null",
        "[1]",
        "[1, 2]",
        "–",
    ]


def test_other_data_under_the_same_config_make_a_column(tmp_path):
    fake_run(tmp_path, seed=1)
    path = fake_run(tmp_path, seed=2)
    manifest = json.loads((path / "manifest.json").read_text()) | {"data": {"train": "other", "val": "bbbb"}}
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert group_runs(find_runs([tmp_path])).columns == ["data (hash)"]


def test_an_option_has_the_name_that_was_typed_or_else_that_of_its_class(tmp_path):
    paths = {(s, n): fake_run(tmp_path, schedule=s, seed=n) for s in ("linear", "cosine") for n in (1, 2)}
    (paths["linear", 1] / "manifest.json").unlink()  # the other one knows
    for seed in (1, 2):
        (paths["cosine", seed] / "manifest.json").write_text('{"options": {}}')
    found = group_runs(find_runs([tmp_path]), ["schedule"])
    assert sorted(group.column_values["schedule"] for group in found.groups) == ["CosineSchedule", "linear"]


def test_an_option_of_which_runs_tell_different_names_has_that_of_its_class(tmp_path):
    named = {"linear": ("linear", "linear"), "cosine": ("cosine", "squared_cosine")}
    for schedule, names in named.items():
        for seed, name in enumerate(names):
            path = fake_run(tmp_path, schedule=schedule, seed=seed)
            manifest = json.loads((path / "manifest.json").read_text()) | {"options": {"schedule": name}}
            (path / "manifest.json").write_text(json.dumps(manifest))
    found = group_runs(find_runs([tmp_path]))
    assert sorted(group.column_values["schedule"] for group in found.groups) == ["CosineSchedule", "linear"]
    assert [len(group.runs) for group in found.groups] == [2, 2]


def test_by_names_the_columns_and_averages_over_the_others(swept):
    found = group_runs(swept, ["schedule"])
    assert (found.columns, found.averaged_columns) == (["schedule"], ["network.base_channels"])
    assert [len(group.runs) for group in found.groups] == [6, 6]
    # A run is paired with the one that differs from it in the schedule alone.
    assert found.groups[0].runs.keys() == found.groups[1].runs.keys()


def test_by_refuses_a_key_that_does_not_differ(swept):
    with pytest.raises(LabError, match=r"by=schedul: there is no key schedul; did you mean schedule\?"):
        group_runs(swept, ["schedul"])


def test_the_newer_of_two_runs_with_the_same_config_and_seed_counts(tmp_path):
    old = fake_run(tmp_path, seed=1, loss=0.9, folder="2026-01-01")
    new = fake_run(tmp_path, seed=1, loss=0.5, folder="2026-01-02")
    found = group_runs(find_runs([tmp_path]))
    assert [run.path for run in found.superseded] == [old]
    assert [run.path for run in found.groups[0].runs.values()] == [new]


def test_of_many_columns_those_that_distinguish_the_rows_are_shown(tmp_path):
    for seed in (1, 2):
        for i, letter in enumerate("abc"):
            fake_run(
                tmp_path,
                seed=seed,
                folder=f"{letter}{seed}",
                extra={f"k{n}": i * (n + 1) for n in range(8)} | {"z": i > 1},
            )
    found = group_runs(find_runs([tmp_path]))
    assert len(found.columns) == 9
    assert found.shown_columns == ["extra.k0"]
    assert [group.label for group in found.groups] == ["k0 0", "k0 1", "k0 2"]


def test_the_shared_config_leaves_out_keys_without_effect_on_results(swept):
    found = shared_config(swept)
    assert found["network.channel_multipliers"] == "[1, 2]"
    assert found["data.batch_size"] == "64"
    assert not {"seed", "name", "schedule._target_", "data.data_dir", "paths.output_dir"} & found.keys()


def test_numbers_that_are_not_finite_are_left_out(tmp_path):
    fake_run(tmp_path, seed=1, loss=0.5)
    path = fake_run(tmp_path, seed=2, loss=0.5)
    (path / "metrics.json").write_text('{"val/loss": NaN}')
    group = group_runs(find_runs([tmp_path])).groups[0]
    assert list(group.metric_values("val/loss").values()) == [0.5]
    assert group.summary("val/loss").n == 1
    assert group.summary("nothing") is None
