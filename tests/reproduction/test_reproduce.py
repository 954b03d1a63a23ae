"""Runs that are reproduced, and runs that are compared with an altered copy: the verdict names every alteration."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import TINY
from diffusion_lab.errors import LabError
from diffusion_lab.reproduction import reproduce as reproduction
from diffusion_lab.reproduction.compare_results import ResultComparison, _sample_differences
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.evaluate import evaluate
from diffusion_lab.runs.train import train

REPRODUCE = Path(__file__).parents[2] / "scripts" / "reproduce.py"


@pytest.fixture
def reproduce(settings, tmp_path):
    """A function that runs `reproduce.py` with overrides and returns the verdict."""
    typed = ("console=quiet", f"paths.output_dir={tmp_path}/again")
    return lambda *overrides: reproduction.reproduce(settings(*typed, *overrides, config_name="reproduce"))


@pytest.fixture
def compared(reproduce, recorded):
    """A function that compares a run with the recorded one and returns the verdict."""
    return lambda folder: reproduce(f"run_dir={recorded.path}", f"compare_only={folder.path}")


def content(folder):
    return {str(p): hashlib.blake2b(p.read_bytes()).hexdigest() for p in folder.path.rglob("*") if p.is_file()}


def change_json(folder, name, *keys, to):
    document = folder.read_json(name)
    node = document
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = to(node[keys[-1]]) if callable(to) else to
    folder.write_json(name, document)


def change_loss(folder, step, unit=1):
    """Change the recorded loss of a step by some units in the last place."""
    path = folder.path / "step_losses.f32"
    bits = np.frombuffer(path.read_bytes(), "<i4").copy()
    bits[step - 1] += unit
    path.write_bytes(bits.tobytes())


def change_csv(folder, column, step, value):
    path = folder.path / "csv" / "metrics.csv"
    header, *rows = (line.split(",") for line in path.read_text().splitlines())
    where = header.index(column)
    for row in rows:
        if row[header.index("step")] == str(step - 1) and row[where]:
            row[where] = value
    path.write_text("\n".join(map(",".join, [header, *rows])) + "\n")


def cut(folder, steps):
    """Turn a run into one that was interrupted after some steps."""
    losses = (folder.path / "step_losses.f32").read_bytes()
    (folder.path / "step_losses.f32").write_bytes(losses[: 4 * steps])
    path = folder.path / "csv" / "metrics.csv"
    header, *rows = path.read_text().splitlines()
    where = header.split(",").index("step")
    path.write_text("\n".join([header, *(row for row in rows if int(row.split(",")[where]) < steps)]) + "\n")
    shutil.rmtree(folder.samples)
    shutil.rmtree(folder.path / "checkpoints")
    (folder.path / "metrics.json").unlink()
    manifest = {k: v for k, v in folder.read_json("manifest.json").items() if k not in ("weights", "steps")}
    folder.write_json("manifest.json", manifest | {"status": "interrupted"})


@pytest.mark.parametrize(
    ("steps", "compared", "line"),
    [(1, [], "identical: 1 step"), (2345, ["weights", "samples"], "identical: 2,345 steps, weights, samples")],
)
def test_what_is_identical_is_one_line(steps, compared, line):
    comparison = ResultComparison(steps=steps, compared=compared, differing_steps=0)
    assert reproduction.Verdict(None, None, comparison, {}).line == line


def test_a_reproduced_run_is_identical_and_the_recorded_one_is_not_changed(recorded, reproduce, tmp_path):
    before = content(recorded)
    verdict = reproduce(f"run_dir={recorded.path}")
    assert verdict.line == "identical: 8 steps, weights, metrics, samples"
    assert content(recorded) == before
    assert verdict.here.path.parent == tmp_path / "again" / "tiny"
    manifest = verdict.here.read_json("manifest.json")
    assert manifest["reproduces"] == str(recorded.path)
    assert manifest["verdict"] == verdict.line
    one, other = (run.read_json("manifest.json")["fingerprint"] for run in (recorded, verdict.here))
    for part in ("config", "data", "environment"):
        assert one[part] == other[part]
    assert verdict.here.read_overrides() == ["name=tiny"]


def test_a_run_that_was_evaluated_is_still_identical(compared, copy, settings):
    judged = ("evaluation=recognition", "evaluation.recognition.members=1", "evaluation.recognition.hidden=4")
    evaluate(settings(f"run_dir={copy.path}", *judged, "console=quiet", "device=cpu", config_name="evaluate"))
    assert list((copy.path / "evaluations").iterdir())
    assert compared(copy).line == "identical: 8 steps, weights, metrics, samples"


def test_a_copy_is_identical_and_nothing_else_differs(compared, copy):
    verdict = compared(copy)
    assert verdict.line == "identical: 8 steps, weights, metrics, samples"
    assert verdict.differences == {}
    assert verdict.identical, verdict.line


@pytest.mark.parametrize("step", [1, 5, 8])
def test_a_loss_that_differs_in_its_last_bit_is_named_with_its_step(compared, copy, step):
    change_loss(copy, step)
    verdict = compared(copy)
    assert not verdict.identical, verdict.line
    assert verdict.line.startswith(f"differs: first at step {step} in train/loss_step: ")
    (first,) = verdict.comparison.first_differences
    assert (first.metric, first.step) == ("train/loss_step", step)
    assert 0 < first.relative < 1.2e-7
    assert np.float32(first.here) == np.nextafter(np.float32(first.there), np.float32(9))
    here, there = verdict.line.partition(": ")[2].partition(": ")[2].split(" here, ")
    assert here != there.split(" there")[0]
    assert (verdict.comparison.differing_steps, verdict.comparison.steps) == (1, 8)


def test_the_first_step_and_the_largest_difference_are_reported(compared, copy):
    for step, unit in ((7, 100), (3, 1), (4, 1000)):
        change_loss(copy, step, unit)
    found = compared(copy).comparison
    assert found.first_differences[0].step == 3
    assert found.differing_steps == 3
    assert found.largest_difference.step == 4


def test_all_logged_metrics_are_compared_and_the_loss_is_named_first(compared, copy):
    change_csv(copy, "optimizer/weight_norm", 3, "7.5")
    change_loss(copy, 5)
    assert compared(copy).line.startswith("differs: first at step 3 in optimizer/weight_norm: 7.5 here, 7.9")
    change_loss(copy, 3)
    assert compared(copy).line.startswith("differs: first at step 3 in train/loss_step: ")


@pytest.mark.parametrize("column", ["speed/images_per_s", "memory/peak_MiB"])
def test_measurements_of_the_machine_are_not_compared(compared, copy, column):
    for step in range(1, 9):
        change_csv(copy, column, step, "1")
    change_json(copy, "metrics.json", column, to=1.0)
    assert compared(copy).identical


def test_without_recorded_step_losses_the_logged_metrics_are_compared(compared, copy):
    (copy.path / "step_losses.f32").unlink()
    assert compared(copy).line == "identical: 8 steps, weights, metrics, samples"
    change_csv(copy, "train/loss_step", 6, "0.5")
    verdict = compared(copy)
    assert verdict.line.startswith("differs: first at step 6 in train/loss_step: 0.5 here, 0.80374")
    assert verdict.comparison.largest_difference.step == 6


def test_steps_with_unknown_losses_are_not_compared(compared, copy):
    losses = np.fromfile(copy.path / "step_losses.f32", "<f4")
    losses[:3] = np.nan
    losses.tofile(copy.path / "step_losses.f32")
    assert compared(copy).line == "identical: 5 steps, weights, metrics, samples"


def test_differing_weights_metrics_and_samples_are_all_named(compared, copy):
    change_json(copy, "manifest.json", "weights", to="abc")
    assert compared(copy).line.startswith("differs: first in the final weights: abc here, ")
    change_json(copy, "metrics.json", "epochs", 1, "val/loss", to=0.75)
    samples = np.load(copy.samples / "final.npy")
    samples[2, 0, 1, 3] += 0.5
    np.save(copy.samples / "final.npy", samples)
    names = [difference.metric for difference in compared(copy).comparison.first_differences]
    assert names == ["weights", "epochs[1].val/loss", "samples[2, 0, 1, 3]"]
    np.save(copy.samples / "final.npy", samples[:4])
    last = compared(copy).comparison.first_differences[-1]
    assert "[4, 1, 8, 8] float32 here, [9, 1, 8, 8] float32 there" in str(last)


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (2, 0, 1, 3), (8, 0, 7, 7)])
def test_samples_that_differ_in_one_bit_are_not_identical(compared, copy, place):
    samples = np.load(copy.samples / "final.npy")
    samples[place] = np.nextafter(samples[place], np.float32(9))
    np.save(copy.samples / "final.npy", samples)
    verdict = compared(copy)
    assert not verdict.identical, verdict.line
    (difference,) = verdict.comparison.first_differences
    assert difference.metric == f"samples[{', '.join(map(str, place))}]"
    assert 0 < difference.relative < 2e-7


def test_a_number_and_nan_differ_and_two_nan_do_not(compared, copy):
    samples = np.load(copy.samples / "final.npy")
    samples[1, 0, 2, 3] = np.nan
    np.save(copy.samples / "final.npy", samples)
    (difference,) = compared(copy).comparison.first_differences
    assert difference.metric == "samples[1, 0, 2, 3]"
    assert difference.relative is None
    assert not _sample_differences(samples, samples.copy())


def session(*keys):
    return ("manifest.json", "sessions", 0, *keys)


SETUP_CHANGES = {
    "versions": (session("versions", "torch"), "2.11.0+cpu", "torch 2.11.0+cpu here, "),
    "threads": (session("computing", "threads"), 8, "8 here, 1 there"),
    "hardware": (session("computing", "cpu_capability"), "AVX1024", "cpu_capability AVX1024 here, "),
    "precision": (session("computing", "precision"), "bf16-mixed", "bf16-mixed here, 32-true there"),
    "variables": (session("computing", "variables", "MKL_CBWR"), "COMPATIBLE", "MKL_CBWR COMPATIBLE here, none there"),
    "data": (("manifest.json", "data", "val"), "00ff", "val 00ff here, "),
    "first weights": (session("weights"), "00ff", "00ff here, "),
    "code": (session("fingerprint", "code"), "00ff", "commit "),
}


@pytest.mark.parametrize("kind", SETUP_CHANGES)
def test_differences_of_the_setup_are_named(compared, copy, kind):
    (name, *keys), value, said = SETUP_CHANGES[kind]
    change_json(copy, name, *keys, to=value)
    verdict = compared(copy)
    assert verdict.identical  # the results are identical
    assert verdict.differences.keys() == {kind}
    assert verdict.differences[kind].startswith(said)


def test_differing_config_keys_are_named_unless_they_have_no_effect_on_results(compared, copy):
    cfg = copy.read_config()
    cfg["optimizer"]["lr"], cfg["name"] = 0.002, "other"
    copy.write_config(cfg, [])
    assert compared(copy).differences == {"config": "optimizer.lr 0.002 here, 0.001 there"}


def test_files_of_the_code_that_differ_are_named(compared, copy):
    change_json(copy, *session("fingerprint", "code"), to="00ff")
    change_json(copy, *session("git"), to=lambda git: git | {"patch": "code_7.patch"})
    name = "src/diffusion_lab/noise.py"
    (copy.path / "code_7.patch").write_text(f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n")
    assert name in compared(copy).differences["code"]


def test_a_patch_outside_of_the_folder_is_refused(compared, copy):
    change_json(copy, *session("git"), to={"commit": "0" * 40, "patch": "../secret.patch"})
    with pytest.raises(LabError, match=r"manifest\.json is damaged: sessions\[0\]\.git\.patch is '\.\./secret\.patch'"):
        compared(copy)


def test_a_run_that_was_resumed_in_another_environment(compared, copy):
    second = copy.read_json("manifest.json")["sessions"][0]
    second = second | {"fingerprint": second["fingerprint"] | {"environment": "00ff"}}
    change_json(copy, "manifest.json", "sessions", to=lambda sessions: [*sessions, second])
    assert compared(copy).differences == {"sessions": "the run here was resumed with a different environment"}


def test_a_run_from_before_there_were_fingerprints(compared, copy):
    change_json(
        copy, "manifest.json", "sessions", 0,
        to=lambda old: {k: v for k, v in old.items() if k not in ("computing", "fingerprint", "weights")},
    )  # fmt: skip
    change_json(copy, *session("hardware", "threads"), to=2)
    assert compared(copy).differences == {"threads": "2 here, 1 there"}


def test_an_unfinished_run_is_compared_as_far_as_it_came(compared, copy):
    cut(copy, 5)
    assert compared(copy).line == "identical: 5 steps"
    change_loss(copy, 5)
    assert compared(copy).line.startswith("differs: first at step 5 in train/loss_step")


@pytest.mark.slow
@pytest.mark.parametrize("ledger", ["ledger", "rows alone", "ends in NaN"])
def test_an_unfinished_run_is_reproduced_up_to_its_last_step(reproduce, copy, ledger):
    cut(copy, 5)
    losses = copy.path / "step_losses.f32"
    if ledger == "rows alone":
        losses.unlink()
    elif ledger == "ends in NaN":
        losses.write_bytes(losses.read_bytes() + np.full(2, np.nan, "<f4").tobytes())
    verdict = reproduce(f"run_dir={copy.path}")
    assert verdict.line == "identical: 5 steps"
    assert verdict.here.read_json("manifest.json")["steps"] == 5


def test_weights_that_were_saved_at_the_same_step_are_compared(compared, copy):
    change_json(copy, "manifest.json", "status", to="running")
    assert compared(copy).line == "identical: 8 steps, weights"
    path = copy.path / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    next(iter(state["state_dict"].values())).view(-1)[0] += 1
    torch.save(state, path)
    assert compared(copy).line.startswith("differs: first in the final weights: ")


@pytest.mark.slow
def test_a_run_that_was_resumed_is_reproduced_in_one_session(tiny, reproduce):
    folder = train(tiny("console=quiet", "trainer.max_epochs=1"), [])
    typed = [f"resume={folder.path}", "trainer.max_epochs=2"]
    train(tiny("console=quiet", *typed), typed)
    assert reproduce(f"run_dir={folder.path}").line == "identical: 8 steps, weights, metrics, samples"


class Spied(Exception):
    pass


@pytest.fixture
def trained_with(monkeypatch, reproduce):
    """A function that returns what `train` would get: the config, and the threads here and of new processes."""

    def of(*overrides):
        seen = []

        def spy(cfg, *_):
            seen.append((cfg, torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")))
            raise Spied

        monkeypatch.setattr(reproduction, "train", spy)
        with pytest.raises(Spied):
            reproduce(*overrides)
        return seen[0]

    return of


def test_the_recorded_number_of_threads_is_used_and_then_restored(trained_with, copy, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    change_json(copy, *session("computing", "threads"), to=2)
    assert trained_with(f"run_dir={copy.path}")[1:] == (2, "2")
    assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (1, "1")
    assert trained_with(f"run_dir={copy.path}", "threads=3")[1:] == (3, "3")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert trained_with(f"run_dir={copy.path}")[1:] == (2, "2")
    assert "OMP_NUM_THREADS" not in os.environ


def test_the_threads_are_those_of_the_first_session_also_where_it_calls_them_hardware(trained_with, copy):
    first = copy.read_manifest()["sessions"][0]
    older = {key: value for key, value in first.items() if key != "computing"}
    older["hardware"] = first["hardware"] | {"threads": 2}
    later = first | {"computing": first["computing"] | {"threads": 3}}
    change_json(copy, "manifest.json", "sessions", to=[older, later])
    assert trained_with(f"run_dir={copy.path}")[1:] == (2, "2")
    both = older | {"computing": first["computing"] | {"threads": 3}}
    change_json(copy, "manifest.json", "sessions", to=[both])
    assert trained_with(f"run_dir={copy.path}")[1:] == (3, "3")
    change_json(copy, "manifest.json", "sessions", to=[{}, later])
    assert trained_with(f"run_dir={copy.path}")[1] == torch.get_num_threads()


@pytest.mark.parametrize(("cores", "said"), [(1, True), (2, False), (None, False)])
def test_more_threads_than_there_are_cores_are_mentioned(trained_with, copy, capsys, monkeypatch, cores, said):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    change_json(copy, *session("computing", "threads"), to=2)
    trained_with(f"run_dir={copy.path}", "console=text")
    note = "2 threads, as in the recorded run: more than the 1 cores of this machine\n"
    assert capsys.readouterr().out == note * said


@pytest.mark.parametrize("threads", [0, -1, 10**6, 1.5, "2", True, [2]])
def test_a_number_of_threads_that_cannot_be_is_refused_before_anything_is_trained(reproduce, copy, threads):
    change_json(copy, *session("computing", "threads"), to=threads)
    with pytest.raises(LabError, match=r"manifest\.json is damaged: sessions\[0\]\.computing\.threads is "):
        reproduce(f"run_dir={copy.path}")


def test_without_a_recorded_number_of_threads_the_present_one_is_used(trained_with, copy, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    change_json(copy, "manifest.json", "sessions", to=[{"hardware": None, "computing": {}}])
    assert trained_with(f"run_dir={copy.path}")[1:] == (torch.get_num_threads(), "5")
    assert os.environ["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(("recorded_options", "given"), [({"schedule": "linear"}, {"schedule": "linear"}), (None, {})])
def test_what_was_typed_and_chosen_is_recorded_again(reproduce, copy, monkeypatch, recorded_options, given):
    def spy(_, overrides, options):
        assert (overrides, options) == (["name=tiny"], given)
        raise Spied

    monkeypatch.setattr(reproduction, "train", spy)
    change_json(copy, "manifest.json", "options", to=recorded_options)
    with pytest.raises(Spied):
        reproduce(f"run_dir={copy.path}")


def test_only_data_and_device_can_be_changed(trained_with, copy, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUSION_LAB_DATA_DIR", "/the/usual")
    recorded = copy.read_config()
    recorded["paths"]["data_dir"] = str(tmp_path)
    copy.write_config(recorded, [])
    cfg = trained_with(f"run_dir={copy.path}")[0]
    assert cfg.paths.data_dir == str(tmp_path)
    cfg = trained_with(f"run_dir={copy.path}", "paths.data_dir=/mine", "trainer.accelerator=gpu")[0]
    assert (cfg.paths.data_dir, cfg.trainer["accelerator"]) == ("/mine", "gpu")
    recorded["paths"]["data_dir"] = "/not/here"
    copy.write_config(recorded, [])
    cfg = trained_with(f"run_dir={copy.path}")[0]
    assert (cfg.paths.data_dir, cfg.paths.output_dir) == ("/the/usual", f"{tmp_path}/again")
    assert cfg.as_node() | {key: recorded[key] for key in ("paths", "console")} == recorded


def test_loggers_that_send_numbers_elsewhere_are_left_out_and_named(trained_with, copy, capsys):
    recorded = copy.read_config()
    local = recorded["logger"]
    assert trained_with(f"run_dir={copy.path}", "console=text")[0].logger == local
    assert "was logged with" not in capsys.readouterr().out
    others = {name: {"_target_": f"pytorch_lightning.loggers.{name}"} for name in ("WandbLogger", "MLFlowLogger")}
    copy.write_config(recorded | {"logger": local | others | {"comet": None}}, [])
    assert trained_with(f"run_dir={copy.path}", "console=text")[0].logger == local
    said = "the recorded run was logged with MLFlowLogger, WandbLogger, the reproduction is not\n"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ended", "limits", "said"),
    [
        ({"status": "finished"}, (100, "00:01:00:00"), ""),
        (
            {"status": "finished", "stopped_by": "max_time"}, (8, None),
            "the recorded run ended when its time was up: it is reproduced up to step 8\n",
        ),
        (
            {"status": "failed", "stopped_by": "max_time"}, (8, "00:01:00:00"),
            "the recorded run is failed, not finished: it is reproduced up to step 8, its last one\n",
        ),
    ],
)  # fmt: skip
def test_a_run_that_ended_early_is_trained_up_to_its_last_step(trained_with, copy, capsys, ended, limits, said):
    recorded = copy.read_config()
    recorded["trainer"] |= {"max_steps": 100, "max_time": "00:01:00:00"}
    copy.write_config(recorded, [])
    copy.write_json("manifest.json", copy.read_manifest() | ended)
    trainer = trained_with(f"run_dir={copy.path}", "console=text")[0].trainer
    assert (trainer["max_steps"], trainer["max_time"]) == limits
    assert capsys.readouterr().out == said


def test_the_run_that_it_started_from_must_exist(reproduce, copy, tmp_path):
    cfg = copy.read_config()
    cfg["init_from"] = f"{tmp_path}/gone"
    copy.write_config(cfg, [])
    with pytest.raises(LabError, match=r"started from the weights of .*/gone \(init_from\), which no longer exists"):
        reproduce(f"run_dir={copy.path}")


def test_a_run_without_any_step_cannot_be_reproduced(reproduce, copy, recorded):
    (copy.path / "step_losses.f32").unlink()
    shutil.rmtree(copy.path / "csv")
    with pytest.raises(LabError, match="has recorded no step"):
        reproduce(f"run_dir={copy.path}")
    with pytest.raises(LabError, match="nothing to compare"):
        reproduce(f"run_dir={recorded.path}", f"compare_only={copy.path}")


def test_a_config_that_lacks_a_key_is_named_with_it(reproduce, copy):
    cfg = copy.read_config()
    del cfg["paths"]
    copy.write_config(cfg, [])
    with pytest.raises(LabError, match=r"copy/config\.yaml: .*paths"):
        reproduce(f"run_dir={copy.path}")


def test_an_unknown_target_in_the_config_is_not_called(reproduce, copy, tmp_path):
    cfg = copy.read_config()
    cfg["network"] = {"_target_": "os.system", "command": f"touch '{tmp_path}/it ran'"}
    copy.write_config(cfg, [])
    with pytest.raises(LabError, match=r"os\.system.*it is not run"):
        reproduce(f"run_dir={copy.path}")
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("csv/metrics.csv", "step,train/loss_step\n0,many\n"),
        ("csv/metrics.csv", "train/loss_step\n0.5\n"),
        ("csv/metrics.csv", "step,train/loss_step\n0,0.5,7\n"),
        ("metrics.json", "{"),
        ("manifest.json", "[]"),
        ("samples/final.npy", "no array"),
    ],
)
def test_a_damaged_file_is_named(compared, copy, file, text):
    (copy.path / file).write_text(text)
    with pytest.raises(LabError, match=rf"{file} is damaged"):
        compared(copy)


def test_a_manifest_that_records_little_is_no_reason_to_fail(compared, copy):
    for sessions in ([], [{}], [{"git": {}, "versions": {}, "computing": {"variables": 1}, "fingerprint": None}]):
        change_json(copy, "manifest.json", "sessions", to=sessions)
        assert compared(copy).identical


def test_control_characters_are_replaced(recorded, reproduce, copy, capsys):
    change_json(copy, *session("versions", "torch"), to="2.15\x1b[2J\n3")
    reproduce(f"run_dir={recorded.path}", f"compare_only={copy.path}", "console=text")
    assert "torch 2.15\N{REPLACEMENT CHARACTER}[2J 3 here, " in capsys.readouterr().out


def test_samples_are_read_as_numbers_alone(compared, copy, tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "it ran",)

    np.save(copy.samples / "final.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(LabError, match=r"final\.npy is damaged"):
        compared(copy)
    assert not (tmp_path / "it ran").exists()


def test_the_verdict_as_text_and_as_json(reproduce, recorded, copy, capsys):
    change_loss(copy, 5)
    change_json(copy, *session("computing", "threads"), to=2)
    typed = (f"run_dir={recorded.path}", f"compare_only={copy.path}")
    reproduce(*typed, "console=text")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("differs: first at step 5 in train/loss_step: ")
    assert lines[1].startswith("  1 of 8 steps differ in train/loss_step, most at step 5: ")
    assert lines[2:] == ["  threads: 2 here, 1 there"]
    reproduce(*typed, "console=json")
    (event,) = map(json.loads, capsys.readouterr().out.splitlines())
    here, there = (float(np.fromfile(run.path / "step_losses.f32", "<f4")[4]) for run in (copy, recorded))
    relative = pytest.approx((here - there) / here)
    assert event == {
        "event": "verdict", "verdict": lines[0], "identical": False, "steps": 8, "differing_steps": 1,
        "compared": ["weights", "metrics", "samples"], "differences": {"threads": "2 here, 1 there"},
        "first": {"metric": "train/loss_step", "step": 5, "here": here, "there": there, "relative": relative},
        "run_folder": str(copy.path), "recorded": str(recorded.path),
    }  # fmt: skip


def test_all_that_differs_is_printed_and_that_nothing_else_does(reproduce, recorded, copy, capsys):
    change_json(copy, "manifest.json", "weights", to="abc")
    change_json(copy, "metrics.json", "epochs", 1, "val/loss", to=0.75)
    reproduce(f"run_dir={recorded.path}", f"compare_only={copy.path}", "console=text")
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("differs: first in the final weights: abc here, ")
    assert second.startswith("  also in the final epochs[1].val/loss: 0.75 here, ")
    assert third == "  config, code, versions, data, threads and hardware are the same"
    reproduce(f"run_dir={recorded.path}", f"compare_only={recorded.path}", "console=json")
    event = json.loads(capsys.readouterr().out)
    assert (event["identical"], event["first"], event["differing_steps"]) == (True, None, 0)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["run_dir=nowhere"], "there is no run folder nowhere"),
        (["run_dir=nowhere", "threads=0"], "threads must be at least 1, got 0"),
        (["run_dir=nowhere", "seed=3"], "there is no key seed"),
        (["run_dir=nowhere", "trainer.max_epochs=3"], "there is no key trainer.max_epochs"),
        ([], "run_dir"),
    ],
)
def test_errors_are_one_line(door, typed, said):
    status, line = door(*typed, script="reproduce")
    assert status == 1
    assert said in line


@pytest.mark.full
def test_the_exit_status_with_several_processes(tmp_path):
    """A run of two processes is reproduced exactly; if a loss is changed, the status says so."""
    train_script = REPRODUCE.with_name("train.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DIFFUSION_LAB_OUTPUT_DIR": str(tmp_path)}

    def typed(script, *overrides):
        command = [sys.executable, script, *overrides]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300)
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()

    _, lines = typed(train_script, *TINY, "trainer=ddp_cpu", "console=quiet")
    status, said = typed(REPRODUCE, f"run_dir={lines[-1]}")
    assert status == 0, said
    assert "identical: 8 steps, weights, metrics, samples" in said
    folder = RunFolder(lines[-1])
    change_loss(folder, 2)
    status, said = typed(REPRODUCE, f"run_dir={lines[-1]}", "console=json")
    assert status == 3
    event = json.loads(said[-1])
    assert (event["event"], event["first"]["step"]) == ("verdict", 2)
