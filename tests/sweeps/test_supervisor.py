"""The supervisor of a job, with a stand-in for the job's process that starts at once and ends as it is asked to."""

import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from diffusion_lab.machine.cores_and_gpus import Gpu, cores
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.sweeps.job_record import JobRecord, job_key
from diffusion_lab.sweeps.jobs import Job
from diffusion_lab.sweeps.stop_signals import StopSignals
from diffusion_lab.sweeps.supervisor import Supervisor

#: Logs what it received and when, and ends as the `notes` in the config of the job say.
CHILD = """
import json, os, signal, sys, time
from pathlib import Path
message = json.load(sys.stdin)
log = Path(message["outputs"]) / "log"
def log_event(what):
    shown = {key: os.environ.get(key) for key in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_NTASKS")}
    open_files = [int(name) for name in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{name}")]
    entry = {"what": what, "open": [os.fstat(number).st_ino for number in open_files], "pid": os.getpid()}
    entry |= {"overrides": message["overrides"], "resume": message["config"]["resume"], "session": os.getsid(0)}
    with log.open("a") as file:
        file.write(json.dumps({**entry, **shown}) + chr(10))
def stopped(number, frame):
    log_event("stopped")
    sys.exit(128 + number)
signal.signal(signal.SIGINT, stopped)
signal.signal(signal.SIGTERM, stopped)
log_event("began")
print("a line")
how = message["config"]["notes"]
if how == "waits":
    time.sleep(60)
if how == "fails":
    record = Path(message["outputs"]) / "multirun" / "jobs" / (message["key"] + ".json")
    record.write_text(json.dumps({"error": "no luck"}))
    sys.exit(1)
if how == "crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
time.sleep(0.3)
log_event("ended")
sys.exit(7 if how == "leaves" else 0)
"""


@pytest.fixture
def make_job(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def make(number=1, notes="", **trainer):
        node = tiny(f"seed={number}", f"notes={notes}").as_node()
        node["trainer"] |= trainer
        config = {"trainer": node["trainer"], "notes": notes, "resume": None, "init_from": None}
        return Job(number, f"seed={number}", config, [f"seed={number}"], {}, job_key(node), tmp_path)

    return make


def supervisor(**settings):
    return Supervisor(
        **{"argv": ["train.py"], "cores_per_job": 1, "gpus": [], "command": (sys.executable, "-c", CHILD), **settings}
    )


def ignore(text):
    pass


def log(tmp_path):
    path = tmp_path / "log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("notes", "state", "error"),
    [
        ("", "finished", None),
        ("fails", "failed", "no luck"),
        ("leaves", "failed", "its process ended with status 7"),
        ("crashes", "failed", "its process was killed by SIGSEGV"),
    ],
)
def test_the_outcome_follows_from_how_the_process_ended(make_job, notes, state, error):
    outcome = supervisor()(make_job(notes=notes), StopSignals(), ignore)
    assert (outcome.state, outcome.error) == (state, error)


def test_an_error_of_the_supervisor_itself_is_an_outcome(make_job):
    outcome = supervisor(command=("/nowhere",))(make_job(), StopSignals(), ignore)
    assert outcome.state == "failed"
    assert "/nowhere" in outcome.error


def test_a_killed_process_is_one_failed_job(make_job, tmp_path):
    job = make_job(notes="waits")
    with ThreadPoolExecutor() as pool:
        outcome = pool.submit(supervisor(), job, StopSignals(), ignore)
        wait_until(lambda: log(tmp_path))
        os.kill(log(tmp_path)[0]["pid"], signal.SIGKILL)
        assert outcome.result(30).state == "failed"
    assert "killed by SIGKILL" in outcome.result().error
    assert JobRecord(tmp_path, job.key).lock() is not None


@pytest.mark.slow
def test_more_jobs_than_gpus_wait_and_no_two_have_the_same(make_job, tmp_path, monkeypatch):
    """Two sweeps of three jobs on two GPUs, whose tokens differ between the sweeps and whose identities are equal."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ours, theirs = [Gpu("0", "a"), Gpu("1", "b")], [Gpu("7", "b"), Gpu("8", "a")]
    said = []
    with ThreadPoolExecutor(6) as pool:
        sweeps = [supervisor(gpus=gpus, cores_per_job=4) for gpus in (ours, theirs)]
        jobs = [make_job(n, accelerator="gpu") for n in range(1, 7)]
        outcomes = [pool.submit(sweeps[job.number % 2], job, StopSignals(), said.append) for job in jobs]
        assert {outcome.result(60).state for outcome in outcomes} == {"finished"}
    held, identity = set(), {"0": "a", "1": "b", "7": "b", "8": "a"}
    for line in log(tmp_path):
        gpu = identity[line["CUDA_VISIBLE_DEVICES"]]
        assert (gpu in held) == (line["what"] == "ended")
        held ^= {gpu}
        assert line["OMP_NUM_THREADS"] == "4"
    assert 1 <= said.count("waiting for 1 GPU to be free") <= 4
    assert sum("seed=" in text for text in said) == 6


def test_a_job_also_holds_the_locks_in_case_its_supervisor_is_killed(make_job, tmp_path):
    job = make_job(accelerator="gpu")
    supervisor(gpus=[Gpu("0", "a")])(job, StopSignals(), ignore)
    (gpu,) = tmp_path.glob("diffusion-lab-*/gpu-a")
    job_lock = JobRecord(tmp_path, job.key).path.with_suffix(".lock")
    assert {gpu.stat().st_ino, job_lock.stat().st_ino} <= set(log(tmp_path)[0]["open"])


def test_gpus_that_were_named_keep_their_numbers(make_job, tmp_path):
    gpus = [Gpu("4", "a"), Gpu("5", "b")]
    for number, devices in ((1, [1]), (2, 2)):
        job = make_job(number, accelerator="gpu", devices=devices)
        assert supervisor(gpus=gpus)(job, StopSignals(), ignore).state == "finished"
    assert [line["CUDA_VISIBLE_DEVICES"] for line in log(tmp_path)[::2]] == ["4,5", "4,5"]


@pytest.mark.slow
def test_jobs_on_the_cpu_never_use_more_cores_than_there_are(make_job, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with ThreadPoolExecutor(3) as pool:
        run = supervisor(cores_per_job=cores())
        list(pool.map(lambda job: run(job, StopSignals(), ignore), [make_job(number) for number in range(1, 4)]))
    told = log(tmp_path)
    assert [line["what"] for line in told] == ["began", "ended"] * 3
    assert {line["OMP_NUM_THREADS"] for line in told} == {str(cores())}


def test_under_slurm_nothing_is_taken_from_the_pool_and_the_number_of_tasks_is_hidden(make_job, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    supervisor(uses_pool=False, cores_per_job=3)(make_job(accelerator="auto"), StopSignals(), ignore)
    assert log(tmp_path)[0]["CUDA_VISIBLE_DEVICES"] == "5"
    assert log(tmp_path)[0]["SLURM_NTASKS"] is None
    assert not list(tmp_path.glob("diffusion-lab-*"))


def test_two_processes_never_run_one_job_at_the_same_time(make_job, with_config, tmp_path):
    job = make_job(notes="waits")
    with ThreadPoolExecutor() as pool:
        stop = StopSignals()
        first = pool.submit(supervisor(), job, stop, ignore)
        wait_until(lambda: log(tmp_path))
        assert supervisor()(job, StopSignals(), ignore).state == "running elsewhere"
        said = []
        second = pool.submit(supervisor(wait_for_others=True), job, StopSignals(), said.append)
        time.sleep(0.5)
        assert not second.done()
        assert said == ["another process is running this job; waiting for it"]
        with_config(recorded(tmp_path, job, "finished"))  # as the first one would have done
        stop.handle(signal.SIGINT)
        assert first.result(30).state == "interrupted"
        assert second.result(30).state == "skipped"
    assert [line["what"] for line in log(tmp_path)] == ["began", "stopped"]


def recorded(tmp_path, job, status, checkpoint=True):
    """Make a run folder of the job with this status, and return it."""
    folder = RunFolder.create(tmp_path, "tiny")
    folder.write_json("manifest.json", {"status": status})
    if checkpoint:
        (folder.path / "checkpoints").mkdir()
        (folder.path / "checkpoints" / "last.ckpt").touch()
    record = JobRecord(tmp_path, job.key)
    record.path.parent.mkdir(parents=True, exist_ok=True)
    record.update(folder=str(folder.path))
    return folder


@pytest.fixture
def with_config(tiny):
    """A function that writes the config of the first job into a run folder."""
    return lambda folder: folder.write_config(tiny("seed=1").as_node(), [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "checkpoint", "rerun", "resumed"),
    [
        ("interrupted", True, False, True),
        ("running", True, False, True),  # it was killed, since nobody holds its lock
        ("interrupted", False, False, False),
        ("failed", True, False, False),
        ("interrupted", True, True, False),
        ("finished", True, True, False),
    ],
)
def test_an_interrupted_job_is_resumed_and_others_start_anew(
    make_job, with_config, tmp_path, status, checkpoint, rerun, resumed
):
    job = replace(make_job(), rerun=rerun)
    folder = recorded(tmp_path, job, status, checkpoint)
    with_config(folder)
    assert supervisor()(job, StopSignals(), ignore).state == "finished"
    told = log(tmp_path)[0]
    assert told["resume"] == (str(folder.path) if resumed else None)
    assert told["overrides"] == ([f"resume={folder.path}"] if resumed else ["seed=1"])


def test_a_job_that_has_finished_is_skipped(make_job, with_config, tmp_path):
    job = make_job()
    folder = recorded(tmp_path, job, "finished")
    with_config(folder)
    outcome = supervisor()(job, StopSignals(), ignore)
    assert (outcome.state, outcome.folder) == ("skipped", str(folder.path))
    assert log(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_job_under_way_and_those_that_wait(make_job, tmp_path, number):
    stop, gpus = StopSignals(), [Gpu("0", "a")]
    jobs = [make_job(n, notes="waits", accelerator="gpu") for n in (1, 2)]
    with ThreadPoolExecutor() as pool:
        outcomes = [pool.submit(supervisor(gpus=gpus), job, stop, ignore) for job in jobs]
        wait_until(lambda: log(tmp_path))
        stop.handle(number)
        assert sorted(outcome.result(30).state for outcome in outcomes) == ["interrupted", "not started"]
    assert [line["what"] for line in log(tmp_path)] == ["began", "stopped"]
    assert log(tmp_path)[0]["session"] != os.getsid(0)  # so that the terminal's Ctrl-C reaches it only through `stop`
    assert supervisor(gpus=gpus)(make_job(3), stop, ignore).state == "not started"


def test_the_third_signal_kills(make_job, tmp_path):
    deaf = CHILD.replace("    sys.exit(128 + number)\n", "    pass\n")
    stop = StopSignals()
    with ThreadPoolExecutor() as pool:
        outcome = pool.submit(supervisor(command=(sys.executable, "-c", deaf)), make_job(notes="waits"), stop, ignore)
        for count in (1, 2, 3):
            wait_until(lambda count=count: len(log(tmp_path)) == count)
            stop.handle(signal.SIGINT)
        assert "SIGKILL" in outcome.result(30).error


def test_each_line_of_a_job_can_be_prefixed_with_its_number(make_job, capsys):
    supervisor(prefix_output=True)(make_job(12), StopSignals(), ignore)
    assert capsys.readouterr().out == "[12] a line\n"
    assert threading.active_count() < 10
