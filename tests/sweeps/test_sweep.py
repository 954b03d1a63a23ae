"""Whole sweeps, started as on the command line. The sweep runs in this process and its jobs in their own."""

import contextlib
import csv
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from conftest import TINY
from diffusion_lab.commands import train_command
from diffusion_lab.config import cli
from diffusion_lab.machine.cores_and_gpus import cores

pytestmark = pytest.mark.timeout(400)

SHORT = (*TINY, "trainer.max_epochs=1", "logger=csv")

#: Long enough to be killed or interrupted; each step is written to disk at once.
ENDLESS = (*TINY, "trainer.max_epochs=2000", "logger=csv", "logger.csv.flush_logs_every_n_steps=1")


@pytest.fixture
def typed(monkeypatch, tmp_path, capfd):
    """A function that runs a sweep with these arguments, and returns its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFUSION_LAB_OUTPUT_DIR", str(tmp_path / "outputs"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the pool of cores lies: other tests run sweeps at the same time
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["train.py", "-m", *arguments])
        status = 0
        try:
            cli.run("train", train_command.train)
        except SystemExit as left:
            status = left.code
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


def sweeps(tmp_path):
    """The recorded jobs of each sweep, the oldest sweep first."""
    records = sorted((tmp_path / "outputs" / "multirun").glob("*/sweep.json"), key=lambda path: path.stat().st_mtime)
    return [json.loads(path.read_text())["jobs"] for path in records]


def manifest(job):
    return json.loads((Path(job["run_folder"]) / "manifest.json").read_text())


def rows(folder):
    with (Path(folder) / "csv" / "metrics.csv").open() as file:
        return [float(row["train/loss_step"]) for row in csv.DictReader(file) if row["train/loss_step"]]


@contextlib.contextmanager
def meanwhile(work):
    """Call `work` in a thread while the block runs, and fail if it fails."""
    failed = []

    def guarded():
        try:
            work()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not failed
    assert not thread.is_alive()


def training(tmp_path, runs=1, steps=12):
    """Wait until `runs` runs have each logged more than `steps` lines, and return their folders."""
    deadline = time.monotonic() + 80
    while time.monotonic() < deadline:
        tables = (tmp_path / "outputs" / "tiny").glob("*/csv/metrics.csv")
        found = [table.parents[1] for table in tables if len(table.read_text().splitlines()) > steps]
        if len(found) >= runs:
            return found
        time.sleep(0.1)
    raise AssertionError(f"fewer than {runs} runs have logged {steps} lines")


def process_of(folder):
    return json.loads((folder / "manifest.json").read_text())["sessions"][-1]["process_id"]


@pytest.mark.slow
def test_a_failed_job_fails_alone_and_the_same_command_runs_the_remaining_jobs(typed, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    command = (*SHORT, "launcher=joblib", "trainer.max_epochs=2", "optimizer.lr=1e-3,1e30")
    status, out, err = typed(*command)
    assert status == 1
    assert err.splitlines()[-1].startswith("Error: 1 of 2 jobs did not finish: [2] optimizer.lr=1e+30; ")
    assert "[1] finished after" in out
    last = out.splitlines()[-3:]
    assert last[0].split()[:3] == ["[1]", "finished", "optimizer.lr=0.001"]
    assert last[1].split()[:3] == ["[2]", "failed", "optimizer.lr=1e+30"]
    assert "the training loss was not a finite number" in last[2]
    (first,) = sweeps(tmp_path)
    assert [job["state"] for job in first] == ["finished", "failed"]
    assert manifest(first[0])["sessions"][0]["hardware"]["threads"] == max(1, cores() // 2)
    assert manifest(first[0])["sessions"][0]["argv"][:2] == ["train.py", "-m"]
    config = (Path(first[0]["run_folder"]) / "config.yaml").read_text()
    assert "launcher" not in config
    assert "rerun" not in config
    assert "launcher" not in (Path(first[0]["run_folder"]) / "overrides.yaml").read_text()

    status, out, _ = typed(*command)
    assert status == 1
    assert "[1] optimizer.lr=0.001: skipped, it has finished" in out
    _, second = sweeps(tmp_path)
    assert [job["state"] for job in second] == ["skipped", "failed"]
    assert second[0]["run_folder"] == first[0]["run_folder"]
    assert second[1]["run_folder"] != first[1]["run_folder"]


@pytest.mark.full
def test_a_killed_job_is_resumed_by_the_next_sweep(typed, tmp_path):
    command = (*ENDLESS, "launcher=joblib", "launcher.n_jobs=1", "seed=1,2", "console=quiet")

    def kill():
        (folder,) = training(tmp_path)
        os.kill(process_of(folder), signal.SIGKILL)
        training(tmp_path, 2)
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(kill):
        status, _, err = typed(*command)
    assert status == 130
    assert "killed by SIGKILL" in err
    assert err.splitlines()[-1] == "Interrupted. The same command runs the remaining jobs."
    (jobs,) = sweeps(tmp_path)
    assert [job["state"] for job in jobs] == ["failed", "interrupted"]
    seen = {job["run_folder"]: rows(job["run_folder"]) for job in jobs}
    saved = [(Path(folder) / "checkpoints" / "last.ckpt").is_file() for folder in seen]
    assert saved == [True, True]

    def stop():
        deadline = time.monotonic() + 80
        while len(rows(jobs[0]["run_folder"])) <= len(seen[jobs[0]["run_folder"]]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    with meanwhile(stop):
        status, _, _ = typed(*command)
    assert status == 143
    _, again = sweeps(tmp_path)
    assert [job["state"] for job in again] == ["interrupted", "not started"]
    assert again[0]["run_folder"] == jobs[0]["run_folder"]
    assert len(manifest(again[0])["sessions"]) == 2
    assert rows(again[0]["run_folder"])[:5] == seen[jobs[0]["run_folder"]][:5]


@pytest.mark.full
def test_jobs_that_submitit_starts_fail_alone(typed, tmp_path):
    """Two jobs fail, one loses its supervisor, and one is queued again and resumed."""
    tiny = (*SHORT, "logger.csv.flush_logs_every_n_steps=1", "launcher=submitit_local")
    command = (*tiny, "optimizer.lr=1e-3,1e30", "trainer.max_epochs=100,101")

    def disturb():
        long = training(tmp_path, 2)
        first, second = sorted(long, key=lambda folder: "max_epochs: 101" in (folder / "config.yaml").read_text())
        os.kill(parent_of(process_of(first)), signal.SIGKILL)
        os.kill(parent_of(process_of(second)), signal.SIGUSR2)  # as SLURM does before the time limit

    with meanwhile(disturb):
        status, out, err = typed(*command)
    assert status == 1
    assert "3 of 4 jobs did not finish" in err
    (jobs,) = sweeps(tmp_path)
    assert [job["state"] for job in jobs] == ["failed", "finished", "failed", "failed"]
    assert jobs[0]["error"].startswith("submitit has no result of it")
    assert "not a finite number" in jobs[2]["error"]
    assert len(manifest(jobs[1])["sessions"]) == 2
    assert "log in" in out

    deadline = time.monotonic() + 60  # the job that lost its supervisor saves and stops
    while manifest(jobs[0])["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    typed(*command)
    _, again = sweeps(tmp_path)
    assert [job["state"] for job in again] == ["finished", "skipped", "failed", "failed"]
    assert again[0]["run_folder"] == jobs[0]["run_folder"]


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_a_signal_ends_the_sweep_and_every_job_saves(typed, tmp_path, launcher, number):
    def stop():
        training(tmp_path, 1 if launcher == "basic" else 2)
        os.kill(os.getpid(), number)

    with meanwhile(stop):
        status, _, err = typed(*ENDLESS, f"launcher={launcher}", "seed=1,2,3")
    assert status == 128 + number
    assert err.splitlines()[-1] == "Interrupted. The same command runs the remaining jobs."
    (jobs,) = sweeps(tmp_path)
    stopped = [job for job in jobs if job["run_folder"]]
    assert {job["state"] for job in jobs} <= {"interrupted", "not started"}
    assert [manifest(job)["status"] for job in stopped] == ["interrupted"] * len(stopped)
    assert all((Path(job["run_folder"]) / "checkpoints" / "last.ckpt").is_file() for job in stopped)


@pytest.mark.full
def test_an_experiment_is_swept_over_schedules_and_seeds_and_again_with_rerun(typed, tmp_path):
    command = (*SHORT, "experiment=quickstart", "schedule=linear,cosine", "seed=1,2", "evaluation=none")
    for rerun in ("rerun=false", "rerun=true"):
        status, out, err = typed(*command, rerun)
        assert status == 0, err
        assert out.count("run folder") == 4
    first, second = sweeps(tmp_path)
    assert len({job["run_folder"] for job in (*first, *second)}) == 8
    typed(*command)
    assert [job["run_folder"] for job in sweeps(tmp_path)[-1]] == [job["run_folder"] for job in second]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["launcher.n_jobs=0", "launcher=joblib"], "launcher.n_jobs must be at least 1, or -1"),
        (["launcher=joblib", "launcher.n_jobs=two"], "launcher.n_jobs=two: it must be an integer"),
        (["launcher=joblib", "launcher.n_job=2"], "no key launcher.n_job; did you mean n_jobs?"),
        (["launcher=slurm"], "choose from basic, joblib, submitit_local, submitit_slurm"),
        (["launcher=basic,joblib"], "launcher must have one value for the whole sweep"),
        (["rerun=true,false"], "rerun must have one value for the whole sweep"),
        (["hydra/launcher=joblib"], "hydra/launcher"),  # one of Hydra's own packages, which may be installed
        (["launcher=submitit_slurm"], "there is no SLURM here"),
        (["launcher=submitit_local", "launcher.cpus_per_task=0"], "launcher.cpus_per_task and"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused_in_one_line(door, tmp_path, arguments, said):
    status, line = door(*TINY, "-m", "seed=1,2", *arguments)
    assert status == 1
    assert said in line
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(("key", "values"), [("tags", "[a],[b]"), ("paths.data_dir", "a,b")])
def test_two_jobs_with_the_same_key_are_refused(door, tmp_path, key, values):
    outputs = tmp_path / "outputs"
    status, line = door(*TINY, "-m", "seed=1,2", f"{key}={values}", f"paths.output_dir={outputs}")
    assert status == 1
    first, second = (f"seed=1 {key}={value}" for value in values.split(","))
    assert f"the jobs {first} and {second} are the same run" in line
    assert not outputs.exists()


@pytest.mark.parametrize(
    "environment",
    [{"TORCHELASTIC_RUN_ID": "x"}, {"SLURM_STEP_NUM_TASKS": "2"}],
    ids=["torchrun", "srun"],
)
def test_a_sweep_in_one_of_several_processes_is_refused(door, tmp_path, monkeypatch, environment):
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    status, line = door(*TINY, "-m", "seed=1,2")
    assert status == 1
    assert "a sweep starts its processes itself" in line
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("option", ["submitit_local", "submitit_slurm"])
def test_a_package_that_is_missing_is_named(door, monkeypatch, option):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "submitit" else find(name))
    status, line = door(*TINY, "-m", "seed=1,2", f"launcher={option}")
    assert status == 1
    assert "pip install submitit" in line


@pytest.mark.parametrize("typed", ["launcher=joblib", "rerun=true"])
def test_keys_of_sweeps_are_refused_outside_a_sweep(door, typed):
    status, line = door(*TINY, typed)
    assert status == 1
    assert f"{typed.partition('=')[0]}=" in line
    assert "which needs -m" in line
