"""Which runs can be removed: none that is running, that another run started from, or that is not a run folder."""

import datetime
import re

import pytest

from diffusion_lab.catalogue import prune
from diffusion_lab.catalogue.find import find_runs
from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.run_record import RunRecord
from fake_runs import fake_run, fake_sweep


def kept(plan):
    return {run.path: reason for run, reason in plan.kept}


def removable(plan):
    return [run.path for run, _ in plan.removable]


def planned(known, *asked, scope="runs"):
    return prune.plan_pruning([RunRecord(path) for path in asked], find_runs([known]), scope)


def test_the_plan_lists_runs_and_the_bytes_they_free(tmp_path):
    made = fake_sweep(tmp_path)
    plan = planned(tmp_path, *made[:2])
    assert removable(plan) == made[:2]
    assert [size for _, size in plan.removable] == [RunRecord(path).size for path in made[:2]]
    assert all(path.is_dir() for path in made)
    checkpoints = planned(tmp_path, made[0], scope="checkpoints")
    assert 20_000 <= checkpoints.removable[0][1] < plan.removable[0][1]


def test_a_running_run_is_kept(tmp_path):
    path = fake_run(tmp_path, status="running", began=datetime.datetime.now(datetime.UTC))
    assert kept(planned(tmp_path, path)) == {path: "it is running"}


@pytest.mark.parametrize("scope", ["runs", "checkpoints"])
def test_a_run_that_another_started_from_is_kept(tmp_path, scope):
    source = fake_run(tmp_path, seed=1)
    fake_run(tmp_path, seed=2, init_from=str(source))
    plan = planned(tmp_path, source, scope=scope)
    assert removable(plan) == []
    assert "started from its weights" in kept(plan)[source]


def test_a_chain_of_runs_is_removed_from_its_end(tmp_path):
    first = fake_run(tmp_path, seed=1)
    second = fake_run(tmp_path, seed=2, init_from=str(first))
    third = fake_run(tmp_path, seed=3, init_from=str(tmp_path / "fake" / "." / second.name))
    assert removable(planned(tmp_path, first, second)) == []
    assert removable(planned(tmp_path, first, second, third)) == [first, second, third]
    assert removable(planned(tmp_path, third)) == [third]


def test_checkpoints_are_kept_for_all_but_the_last_run_of_a_chain(tmp_path):
    first = fake_run(tmp_path, seed=1)
    second = fake_run(tmp_path, seed=2, init_from=str(first))
    assert removable(planned(tmp_path, first, second, scope="checkpoints")) == [second]


def test_folders_that_are_not_runs_are_kept(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(fake_run(tmp_path / "elsewhere"))
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.yaml").write_text("a: 1")
    outer = fake_run(tmp_path / "outer")
    fake_run(outer / "inner")
    odd = fake_run(tmp_path / "odd")
    (odd / "checkpoints" / "last.ckpt").unlink()
    (odd / "checkpoints").rmdir()
    (odd / "checkpoints").symlink_to(tmp_path / "elsewhere")
    plan = planned(tmp_path, link, bare, outer, odd)
    assert kept(plan) == {
        link: "it is a link",
        bare: "it has no manifest.json that records a run",
        outer: "it contains another run",
        odd: "its checkpoints are a link",
    }


def test_a_run_is_removed_and_nothing_else(tmp_path):
    made = fake_sweep(tmp_path)
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").write_text("kept")
    (made[0] / "link").symlink_to(target)
    prune.remove(RunRecord(made[0]), "runs")
    assert sorted((tmp_path / "fake").iterdir()) == sorted(made[1:])
    assert (target / "file").read_text() == "kept"


def test_checkpoints_are_removed_and_the_rest_is_kept(tmp_path):
    path = fake_run(tmp_path)
    before = {p.name for p in path.iterdir()}
    prune.remove(RunRecord(path), "checkpoints")
    assert {p.name for p in path.iterdir()} == before - {"checkpoints"}
    assert RunRecord(path).state == "finished"
    assert kept(planned(tmp_path, path, scope="checkpoints")) == {path: "it has no checkpoints"}


def test_a_run_that_was_resumed_in_the_meantime_is_not_removed(tmp_path):
    path = fake_run(tmp_path, status="interrupted")
    run = RunRecord(path)
    assert run.state == "interrupted"
    manifest = (path / "manifest.json").read_text().replace('"interrupted"', '"running"')
    now = datetime.datetime.now(datetime.UTC).isoformat()
    (path / "manifest.json").write_text(manifest.replace("2026-05-06T12:00:00+00:00", now))
    with pytest.raises(LabError, match="is kept: it is running"):
        prune.remove(run, "runs")
    assert path.is_dir()


def test_a_run_that_a_process_has_locked_is_not_removed(tmp_path):
    path = fake_run(tmp_path)
    with RunFolder(path).held(), pytest.raises(LabError, match="is being trained by another process"):
        prune.remove(RunRecord(path), "runs")
    assert (path / "checkpoints").is_dir()


def test_a_folder_that_cannot_be_removed_is_named(tmp_path):
    """Its hidden name is taken by a folder that is not empty, which stops even root."""
    path = fake_run(tmp_path)
    (path.with_name(f".{path.name}.pruned") / "something").mkdir(parents=True)
    with pytest.raises(LabError, match=f"cannot remove {re.escape(str(path))}: Directory not empty"):
        prune.remove(RunRecord(path), "runs")
    assert (path / "config.yaml").is_file()
