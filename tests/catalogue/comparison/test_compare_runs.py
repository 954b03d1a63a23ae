"""The command line of scripts/compare.py."""

import csv
import json
import sys

import pytest

from diffusion_lab.catalogue.comparison import compare_runs
from diffusion_lab.config import arguments
from diffusion_lab.config.reader_schema import CompareConfig
from fake_runs import fake_evaluation, fake_run, fake_sweep


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """A function that runs compare.py with arguments and returns its output or its error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIFFUSION_LAB_OUTPUT_DIR", raising=False)

    def of(*words):
        monkeypatch.setattr(sys, "argv", ["compare.py", *words])
        status = 0
        try:
            arguments.run_on_paths("compare", CompareConfig, compare_runs.compare_runs)
        except SystemExit as left:
            status = left.code
        said = capsys.readouterr()
        if not status:
            return said.out
        assert (status, said.out, len(said.err.splitlines())) == (1, "", 1)
        return said.err

    return of


@pytest.fixture
def swept(tmp_path):
    return fake_sweep(tmp_path / "outputs", recognition=0.5)


def test_paths_and_keys_may_be_mixed(typed, swept):
    paths = [str(path) for path in swept]
    first = typed(*paths[:3], "metric=val/loss", *paths[3:])
    assert first == typed("metric=val/loss", "outputs") == typed() == typed("outputs/fake/*")
    assert first.splitlines()[0].split()[:3] == ["schedule", "network.base_channels", "val/loss"]
    assert "linear, base_channels 16 is better than linear, base_channels 8" in first


def test_out_takes_folders_and_files(typed, swept, tmp_path):
    said = typed("outputs", "out=paper/one,table.tex,deep/er/page.html", "by=schedule")
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*") if "outputs" not in p.parts and p.is_file()}
    assert written == {
        "paper/one/comparison.csv", "paper/one/comparison.md", "paper/one/comparison.tex", "paper/one/comparison.html",
        "table.tex", "deep/er/page.html",
    }  # fmt: skip
    assert (tmp_path / "table.tex").read_text() == (tmp_path / "paper/one/comparison.tex").read_text()
    assert (tmp_path / "deep/er/page.html").read_text().startswith("<!doctype html>")
    assert said.count("Written: ") == 6
    assert "Averaged over network.base_channels." in said


def test_unfinished_runs_are_left_out_or_included(typed, swept, tmp_path):
    stopped = fake_run(tmp_path / "outputs", status="interrupted", seed=9, schedule="cosine", channels=16)
    damaged = fake_run(tmp_path / "outputs", seed=10)
    (damaged / "metrics.json").write_text("{")
    said = typed()
    assert f"Left out, interrupted (all=true includes unfinished runs): {stopped.name}." in said
    assert f"Left out, damaged: {damaged.name}." in said
    assert "  3\n" in said
    said = typed("all=true")
    assert stopped.name not in said
    assert damaged.name in said
    assert [line.split()[-1] for line in said.splitlines()[1:5]] == ["3", "3", "4", "3"]


def test_a_run_of_a_newer_version_is_left_out_and_the_others_are_compared(typed, swept, tmp_path):
    newer = fake_run(tmp_path / "outputs", seed=10)
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps(manifest | {"layout_version": 99}))
    assert f"Left out, written by a newer version of this project: {newer.name}." in typed()


def test_evaluations_with_the_metric_are_rows_and_so_is_a_run_that_has_it_itself_or_none_of_them(typed, tmp_path):
    names = ("measured", "unmeasured", "without", "elsewhere")
    paths = {name: fake_run(tmp_path / "outputs", folder=name, extra={"is": name}) for name in names}
    for name, steps, results in (
        ("measured", 5, {"quality": {"fid": 4.0}}),
        ("unmeasured", 5, {"quality": {"fid": 3.0}}),
        ("unmeasured", 9, {"quality": {"fid": 2.0}}),
        ("elsewhere", 5, {"recognition": {"samples": 0.5}}),
    ):
        fake_evaluation(paths[name], f"{steps}", results, sampler={"_target_": "lab.DDIM", "num_steps": steps})
    metrics = json.loads((paths["measured"] / "metrics.json").read_text())
    (paths["measured"] / "metrics.json").write_text(json.dumps(metrics | {"quality": {"fid": 5.0}}))
    said = typed("metric=quality.fid", "out=table.csv")
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [(row["extra.is"], row["sampler.num_steps"], row["quality.fid.mean"]) for row in rows] == [
        ("unmeasured", "9", "2.0"),
        ("unmeasured", "5", "3.0"),
        ("measured", "5", "4.0"),
        ("measured", "–", "5.0"),
        ("elsewhere", "–", ""),
        ("without", "–", ""),
    ]
    assert "Not in the mean, since quality.fid is missing or not finite: elsewhere, without." in said


@pytest.mark.parametrize(
    ("metric", "ruler"), [("quality.fid", "extractor"), ("text_quality.ngram_nll_per_token", "ngram_model")]
)
def test_rows_measured_by_another_model_than_the_newest_are_left_out(typed, tmp_path, metric, ruler):
    evaluation, _, measure = metric.partition(".")
    for folder, model in (("1", "old"), ("2", "old"), ("3", "new"), ("4", "new")):
        path = fake_run(tmp_path / "outputs", folder=folder, seed=int(folder))
        fake_evaluation(path, "a", {evaluation: {measure: float(folder), ruler: model}})
    fake_run(tmp_path / "outputs", folder="5", seed=5)  # it was measured by none
    said = typed(f"metric={metric}", "out=table.csv")
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [(row[f"{metric}.mean"], row[f"{metric}.n"]) for row in rows] == [("3.5", "2"), ("", "0")]
    assert "Left out, since it was measured by old and not by new: 1, 2." in said


def test_a_second_metric_leaves_out_those_measured_by_another_model_too(typed, tmp_path):
    for folder, model in (("1", "old"), ("2", "new")):
        path = fake_run(tmp_path / "outputs", folder=folder, seed=int(folder))
        metrics = json.loads((path / "metrics.json").read_text())
        (path / "metrics.json").write_text(json.dumps(metrics | {"quality": {"fid": 1.0, "extractor": model}}))
    assert "Left out" not in typed("metric=val/loss")
    assert "Left out, since it was measured by old and not by new: 1." in typed("metric=val/loss,quality.fid")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["metrc=val/loss"],
            "there is no key metrc; did you mean metric? accepted are metric, direction, by, sort, all, out",
        ),
        (["metric="], "metric must be given"),
        (["metric=val/lss"], "did you mean val/loss?"),
        (["direction=down"], "direction=down: it must be one of lower, higher or null"),
        (["by=network.base_chanels"], "did you mean network.base_channels?"),
        (["sort=x"], "sort=x: there is no key x"),
        (["all=1"], "all=1: it must be true or false"),
        (["out=table.xlsx"], "out=table.xlsx: a file name must end in .csv, .md, .tex, .html, .png; a folder"),
        (["out=file"], "out=file is a file"),
        (["out=file/x.csv"], "cannot write file/x.csv (out): "),
        (["output"], "there is no folder output; did you mean outputs?"),
        (["empty"], "empty contains no run"),
        (["-m"], "there is no option -m"),
    ],
)
def test_errors_are_one_line(typed, swept, tmp_path, words, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    paths = [] if words[0] in ("output", "empty") else ["outputs"]
    assert said in typed(*paths, *words)


def test_at_least_one_run_must_be_finished(typed, tmp_path):
    fake_run(tmp_path / "outputs", status="failed")
    assert "none of 1 runs can be compared: failed (all=true includes unfinished runs)" in typed()


def test_the_help_lists_every_key(typed):
    said = typed("--help")
    for key in ("metric", "direction", "by", "sort", "all", "out"):
        assert f"\n  {key} " in said
    assert "multirun" not in said
