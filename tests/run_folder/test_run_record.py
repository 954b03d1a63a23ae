"""What a run folder says, and that nothing in it can do harm."""

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.run_record import RunRecord, plain, size_on_disk
from fake_runs import NOW, fake_run


@pytest.fixture
def ended():
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_finished_run(tmp_path):
    run = RunRecord(fake_run(tmp_path, loss=0.5, recognition=0.8, tags=["a", "b"], notes="first  try", seed=3))
    assert (run.state, run.name, run.seed) == ("finished", "fake", 3)
    assert (run.tags, run.notes) == (["a", "b"], "first try")
    assert run.started == NOW
    assert run.config["network.channel_multipliers"] == [1, 2]
    assert run.metrics == {
        "step": 30, "val/loss": 0.5, "train/loss": 0.6, "val/loss_best": 0.25, "train/loss_best": 0.35,
        "recognition.samples": 0.8, "recognition.real": 0.92, "parameters": 8000, "wall_time_s": 33.0,
    }  # fmt: skip
    assert run.curves["val/loss"] == [(10, 1.5), (20, 0.25), (30, 0.5)]


def test_an_unfinished_run_has_the_losses_of_its_log(tmp_path):
    run = RunRecord(fake_run(tmp_path, status="interrupted", loss=0.5))
    assert run.curves["val/loss"] == [(10, 1.5), (20, 0.25), (30, 0.5)]
    assert run.curves["train/loss"] == [(10, 1.6), (20, 0.35), (30, 0.6)]
    assert run.metrics == {
        "val/loss": 0.5, "train/loss": 0.6, "val/loss_best": 0.25, "train/loss_best": 0.35, "parameters": 8000,
        "wall_time_s": 31.0,
    }  # fmt: skip


def test_a_log_that_is_no_file_has_no_losses(tmp_path):
    path = fake_run(tmp_path, status="interrupted")
    (path / "csv" / "metrics.csv").unlink()
    (path / "csv" / "metrics.csv").mkdir()
    assert RunRecord(path).curves == {}
    assert RunRecord(path).metrics == {"parameters": 8000, "wall_time_s": 31.0}


def test_the_seconds_of_all_sessions_are_added_and_none_are_none(tmp_path):
    path = fake_run(tmp_path, status="interrupted")
    manifest = json.loads((path / "manifest.json").read_text())
    for seconds, total in (([30.0, None, 5.5], 35.5), ([None, 2.0], 2.0), ([0], 0.0), ([None], None)):
        sessions = [manifest["sessions"][0] | {"wall_time_s": time} for time in seconds]
        (path / "manifest.json").write_text(json.dumps(manifest | {"sessions": sessions, "parameters": None}))
        found = RunRecord(path).metrics
        assert (found.get("wall_time_s"), "parameters" in found) == (total, False)


def test_a_run_that_runs(tmp_path):
    began = datetime.datetime.now(datetime.UTC)
    assert RunRecord(fake_run(tmp_path, status="running", began=began)).state == "running"


def test_a_run_whose_process_is_gone_was_killed(tmp_path, ended):
    began = datetime.datetime.now(datetime.UTC)
    assert RunRecord(fake_run(tmp_path, status="running", began=began, process_id=ended)).state == "killed"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells when a process began")
def test_a_process_that_began_after_the_run_is_another_one(tmp_path):
    assert RunRecord(fake_run(tmp_path, status="running", began=NOW)).state == "killed"


def test_of_another_machine_s_processes_nothing_is_known(tmp_path, ended):
    assert RunRecord(fake_run(tmp_path, status="running", process_id=ended, host="elsewhere")).state == "running"


@pytest.mark.parametrize("process_id", [None, "1", -(10**30), 10**30, True])
def test_a_process_number_of_another_kind_is_damage(tmp_path, process_id):
    run = RunRecord(fake_run(tmp_path, status="running", session={"process_id": process_id}))
    assert run.state == ("running" if process_id is None else "damaged")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("manifest.json", b""), ("manifest.json", b"[]"), ("manifest.json", b"{}"), ("manifest.json", b'{"status": 3}'),
        ("manifest.json", b'{"status": "finished", "sessions": "x"}'), ("manifest.json", b"\xff\xfe"),
        ("manifest.json", b"[" * 100_000), ("config.yaml", b"a: [1"), ("config.yaml", b"- 1"), ("config.yaml", b"\xff"),
        ("config.yaml", b"a: &a {b: *a}"), ("config.yaml", b"{a: " * 5000), ("config.yaml", b"!!python/object:os.x {}"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_damaged(tmp_path, file, content):
    path = fake_run(tmp_path)
    (path / file).write_bytes(content)
    assert RunRecord(path).state == "damaged"


@pytest.mark.parametrize("content", [("{x: 1}", "{x: *, y: *}"), ("[1]", "[*, *]"), ("{}", "{x: *, y: *}")])
def test_a_few_aliases_do_not_fill_the_memory(tmp_path, content):
    path = fake_run(tmp_path)
    first, more = content
    lines = [f"a0: &a0 {first}"] + [f"a{i}: &a{i} {more.replace('*', f'*a{i - 1}')}" for i in range(1, 60)]
    (path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(LabError, match="it has aliases"):
        _ = RunRecord(path).config


def test_a_config_of_very_many_keys_is_damaged(tmp_path):
    path = fake_run(tmp_path)
    (path / "config.yaml").write_text("\n".join(f"a{i}: '*'" for i in range(10_001)))
    with pytest.raises(LabError, match="more than 10,000 keys"):
        _ = RunRecord(path).config


def test_without_a_session_or_its_time_nothing_says_when_a_run_started(tmp_path):
    path = fake_run(tmp_path, session={"started": None})
    assert RunRecord(path).started is None
    (path / "manifest.json").unlink()
    assert RunRecord(path).started is None
    assert RunRecord(path).state == "damaged"


def test_numbers_that_are_none_are_left_out(tmp_path):
    path = fake_run(tmp_path)
    epochs = [
        {"step": 1, "val/loss": "x"},
        {"step": None},
        7,
        {"step": 2, "val/loss": float("nan")},
        {"step": 3, "val/loss": 1},
    ]
    content = {"epochs": epochs, "val/loss": float("nan"), "a": True, "b": "x", "c": None, "d": {"e": [1], "f": 2}}
    (path / "metrics.json").write_text(json.dumps(content))
    run = RunRecord(path)
    assert run.curves == {"val/loss": [(3, 1)]}
    assert run.metrics.keys() == {"val/loss", "val/loss_best", "d.f", "parameters", "wall_time_s"}
    assert run.metrics["val/loss"] != run.metrics["val/loss"]


def test_facts_are_the_texts_among_the_metrics(tmp_path):
    path = fake_run(tmp_path)
    quality = {"extractor": "lenet\x07 of\n digits", "fid": 3.5, "of": ["a"], "by": {"whom": "me", "when": None}}
    (path / "metrics.json").write_text(json.dumps({"quality": quality, "note": "x", "step": 30, "done": True}))
    assert RunRecord(path).facts == {
        "quality.extractor": "lenet\N{REPLACEMENT CHARACTER} of digits", "quality.by.whom": "me", "note": "x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("init_from", "path"), [(None, None), ("", None), (3, None), (["a"], None), ("runs/a", Path("runs/a"))]
)
def test_the_run_whose_weights_a_run_started_with_is_a_path(tmp_path, init_from, path):
    assert RunRecord(fake_run(tmp_path, init_from=init_from)).init_from == path


def test_labels_given_later_stand_for_those_of_the_config(tmp_path):
    path = fake_run(tmp_path, tags=["a"], notes="old")
    config = (path / "config.yaml").read_bytes()
    run = RunRecord(path)
    assert run.tags == ["a"]
    run.label(["b", "c"], "new")
    for record in (run, RunRecord(path)):
        assert (record.tags, record.notes) == (["b", "c"], "new")
    assert (path / "config.yaml").read_bytes() == config


@pytest.mark.parametrize("tags", [3, None, "ab", {"a": 1}])
def test_tags_that_are_no_list_are_none(tmp_path, tags):
    path = fake_run(tmp_path, tags=tags, notes="old")
    assert (RunRecord(path).tags, RunRecord(path).notes) == ([], "old")
    (path / "labels.json").write_text(json.dumps({"tags": tags, "notes": "new"}))
    assert (RunRecord(path).tags, RunRecord(path).notes) == ([], "new")


def test_text_cannot_steer_a_terminal(tmp_path):
    run = RunRecord(fake_run(tmp_path, notes="\x1b[31mred\x07\n two\u202e", tags=["\x1b[2J", 3]))
    assert run.notes == "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER} two\N{REPLACEMENT CHARACTER}"
    assert run.tags == ["\N{REPLACEMENT CHARACTER}[2J"]
    assert len(plain("x" * 10_000)) == 500


def test_the_size_counts_a_file_of_two_names_once_and_follows_no_link(tmp_path):
    folder, elsewhere = tmp_path / "a", tmp_path / "b"
    folder.mkdir()
    elsewhere.mkdir()
    for place in (folder, elsewhere):
        (place / "file").write_bytes(os.urandom(200_000))
    alone = sum(size_on_disk(folder))
    assert alone >= 200_000
    assert alone == (folder / "file").stat().st_blocks * 512 == RunRecord(folder).size
    os.link(folder / "file", folder / "again")
    (folder / "link").symlink_to(elsewhere)
    (folder / "file_link").symlink_to(elsewhere / "file")
    assert sum(size_on_disk(folder)) == alone
