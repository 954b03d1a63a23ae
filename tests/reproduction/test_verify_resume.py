"""Runs that verify_resume trains, kills and resumes, and what becomes of their processes."""

import json
import math
import multiprocessing
import os
import random
import signal
import threading
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from conftest import TINY
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.ranks import interrupt_on_sigterm
from diffusion_lab.reproduction import verify_resume
from diffusion_lab.runs.train import train

pytestmark = pytest.mark.timeout(60)


def stop_the_parent(run, overrides, options, kill_after, pipe):
    pipe.send({"folder": "a"})
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(300)


def session(kill_after=None):
    return verify_resume._session(None, [], {}, kill_after)


@pytest.mark.slow
def test_a_verification_that_is_stopped_stops_its_run(monkeypatch):
    monkeypatch.setattr(verify_resume, "_train", stop_the_parent)
    with interrupt_on_sigterm(), pytest.raises(RunInterrupted) as stopped:
        session()
    assert stopped.value.status == 128 + signal.SIGTERM


@pytest.fixture
def forked(monkeypatch):
    """A function from what a process does with its pipe to what `_session` makes of it.

    The process begins as a copy of this one: a new one takes seconds to import what it needs.
    """
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)

    def of(does, kill_after=None):
        monkeypatch.setattr(verify_resume, "_train", lambda *arguments: does(arguments[-1]))
        return session(kill_after)

    return of


def test_a_run_reports_its_folder_and_the_seconds_of_its_training(forked):
    def finishes(pipe):
        pipe.send({"folder": "a"})
        pipe.send({"seconds": 2.5})

    assert forked(finishes) == (Path("a"), 2.5, False)
    assert forked(finishes, kill_after=1.0) == (Path("a"), 2.5, False)


def test_the_process_of_a_run_is_given_all_that_was_asked_for(forked, monkeypatch):
    monkeypatch.setattr(verify_resume, "_train", lambda *given: given[-1].send({"folder": "a", "seconds": given[:-1]}))
    _, given, _ = verify_resume._session("run", ("a=1",), {"data": "digits"}, 3.0)
    assert given == ("run", ["a=1"], {"data": "digits"}, 3.0)


def test_a_run_is_trained_with_what_kills_it_and_its_errors_are_a_status(monkeypatch, capsys):
    seen = []

    def spy(*given):
        seen.append(given)
        raise LabError("no data")

    monkeypatch.setattr(verify_resume, "train", spy)
    with pytest.raises(SystemExit) as left:
        verify_resume._train("run", ["a=1"], {"data": "digits"}, 3.0, "pipe")
    assert left.value.code == 1
    assert "no data" in capsys.readouterr().err
    ((*asked, (callback,)),) = seen
    assert asked == ["run", ["a=1"], {"data": "digits"}]
    assert (callback.kill_after, callback.pipe) == (3.0, "pipe")


def be_killed(pipe):
    pipe.send({"folder": "a"})
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_that_somebody_else_killed_is_an_error(forked):
    assert forked(be_killed, kill_after=0.0) == (Path("a"), 0.0, True)
    with pytest.raises(LabError, match="the run failed, killed by signal 9: nothing can be compared"):
        forked(be_killed)
    with pytest.raises(LabError, match="the run failed, killed by signal 9: nothing can be compared"):
        forked(lambda pipe: os.kill(os.getpid(), signal.SIGKILL), kill_after=0.0)  # before it had a folder


@pytest.mark.parametrize("status", [1, 3])
def test_the_end_of_a_run_that_failed_is_waited_for(forked, status):
    def fail(pipe):
        pipe.send({"folder": "a"})
        pipe.close()
        time.sleep(0.1)
        os._exit(status)

    with pytest.raises(LabError, match=r"the run failed \(see above\): nothing can be compared"):
        forked(fail, kill_after=0.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_interrupted_interrupts_the_verification(forked, number):
    with pytest.raises(RunInterrupted) as stopped:
        forked(lambda pipe: os._exit(128 + number))
    assert stopped.value.status == 128 + number


def interrupt(error):
    raise error


class Interruption:
    """What raises an error where it is received, as a signal might there."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return interrupt, (self.error,)


def test_after_ctrl_c_the_run_may_end_by_itself(forked, tmp_path):
    def ends(pipe):
        pipe.send(Interruption(KeyboardInterrupt()))
        time.sleep(0.1)
        (tmp_path / "ended").touch()

    with pytest.raises(KeyboardInterrupt):
        forked(ends)
    assert (tmp_path / "ended").exists()


def test_a_verification_that_is_stopped_ends_its_run(forked, tmp_path):
    def goes_on(pipe):
        pipe.send(Interruption(RunInterrupted()))
        time.sleep(5)
        (tmp_path / "ended").touch()

    with pytest.raises(RunInterrupted):
        forked(goes_on)
    assert multiprocessing.active_children() == []
    assert not (tmp_path / "ended").exists()


def test_a_run_kills_itself_if_it_is_asked_to_and_sends_the_seconds_of_its_training():
    receiver, sender = multiprocessing.Pipe(duplex=False)
    callback = verify_resume._ReportAndKill(3600.0, sender)
    before, began = set(threading.enumerate()), time.monotonic()
    callback.on_train_start(None, None)
    (timer,) = set(threading.enumerate()) - before
    timer.cancel()
    assert (timer.interval, timer.function, timer.args) == (3600.0, os.kill, (os.getpid(), signal.SIGKILL))
    assert timer.daemon  # a process that has finished does not wait for it
    callback.on_train_end(None, None)
    assert 0 <= receiver.recv()["seconds"] <= time.monotonic() - began
    verify_resume._ReportAndKill(None, sender).on_train_start(None, None)
    timer.join()
    assert set(threading.enumerate()) == before


@pytest.mark.slow
def test_a_run_that_was_killed_after_its_last_step_still_reports_its_folder(tiny):
    folder = train(tiny("console=quiet"), [])
    folder.write_json("manifest.json", folder.read_json("manifest.json") | {"status": "running"})
    receiver, sender = multiprocessing.Pipe(duplex=False)
    train(tiny("console=quiet", f"resume={folder.path}"), [], {}, [verify_resume._ReportAndKill(None, sender)])
    assert receiver.poll()
    assert receiver.recv() == {"folder": str(folder.path)}


@pytest.fixture
def verified(settings, monkeypatch, recorded, copy):
    """A function that verifies a run whose sessions are known: one to its end, and those of a copy, killed or not.

    A folder stands for a session that was killed there.

    Returns what it says, its events, and what each session was asked for.
    """

    def of(capsys, *killed, typed=TINY):
        later = [(copy.path, 0.0, ended) if isinstance(ended, bool) else (ended, 0.0, True) for ended in killed]
        ends = iter([(recorded.path, 4.0, False), *later])
        sessions = []

        def session(*asked):
            sessions.append(asked)
            return next(ends)

        monkeypatch.setattr(verify_resume, "_session", session)
        run = settings(*typed, "console=json", config_name="verify_resume")
        said = verify_resume.verify_resume(run, typed, {"data": "digits"})
        return said, [json.loads(line) for line in capsys.readouterr().out.splitlines()], sessions

    return of


def test_a_run_is_killed_at_random_moments_resumed_each_time_and_at_last_not_killed(verified, capsys, recorded, copy):
    typed = (*TINY, "kills=2", "kill_seed=7", "init_from=/a/run")
    state = torch.random.get_rng_state()
    identical, events, (whole, first, second, last) = verified(capsys, True, True, False, typed=typed)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert identical
    rng = random.Random(7)
    moments = [rng.uniform(0, 4.0 / 2) for _ in range(2)]
    run, overrides, options = whole
    assert type(run) is TrainConfig
    assert (run.resume, run.init_from, overrides) == (None, "/a/run", [*TINY, "init_from=/a/run"])
    assert options == {"data": "digits"}
    assert first == (*whole, moments[0])
    resuming = run.resuming(str(copy.path))
    assert (second, last) == ((resuming, [], options, moments[1]), (resuming, [], options))
    *notes, verdict = events
    assert [note["text"] for note in notes] == [
        "first, the run that is not stopped",
        f"killed (kill -9) {moments[0]:.0f} s into its training, 1 of 2",
        f"killed (kill -9) {moments[1]:.0f} s into its training, 2 of 2",
    ]
    assert verdict == {
        "event": "verdict", "verdict": "identical: 8 steps, weights, metrics, samples, optimizer; resumed 2 times",
        "identical": True, "steps": 8, "resumed": 2, "checkpoint": [],
        "run_folder": str(copy.path), "whole": str(recorded.path),
    }  # fmt: skip


def test_a_run_that_finished_before_its_kill_is_not_resumed_again(verified, capsys):
    _, events, sessions = verified(capsys, True, False)
    assert len(sessions) == 3
    assert events[-2]["text"] == "the run finished before it was killed"
    assert events[-1]["resumed"] == 1


def test_a_kill_before_the_first_checkpoint_leaves_nothing_to_resume(verified, capsys, tmp_path):
    _, events, _ = verified(capsys, tmp_path, True, False)
    assert events[-1]["resumed"] == 1
    assert verified(capsys, tmp_path, False)[1][-1]["resumed"] == 0


def test_a_run_that_differs_is_said_with_its_values_first(copy, recorded, capsys):
    path = copy.path / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    next(iter(state["optimizer_states"][0]["state"].values()))["exp_avg"] += 1
    state["epoch"] += 1
    torch.save(state, path)
    assert not verify_resume._print_verdict(copy, recorded, 1)
    assert capsys.readouterr().out == (
        "\ndiffers: last.ckpt: optimizer_states; last.ckpt: epoch\n"
        f"  not stopped: {recorded.path}\n  killed:      {copy.path}\n"
    )
    copy.write_json("manifest.json", copy.read_manifest() | {"weights": "abc"})
    assert not verify_resume._print_verdict(copy, recorded, 1)
    assert capsys.readouterr().out.startswith("\ndiffers: in the final weights: abc here, ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2), torch.tensor([0.0, 1e-30])),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), torch.zeros(1, 2)),
        (torch.zeros(2), [0.0, 0.0]),
        ({"a": torch.zeros(1), "b": 1}, {"a": torch.zeros(1), "b": 2}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({}, []),
        ([1, torch.zeros(1)], [1, torch.ones(1)]),
        ((1, 2), (1, 2, 3)),
        ((1, 2, 3), (1, 2)),
        (1, None),
        ([], None),
        (None, []),
        ([{"a": (torch.zeros(1),)}], [{"a": (torch.ones(1),)}]),
        (math.nan, 0.0),
        (0.0, math.nan),
        (torch.tensor([math.nan, 1]), torch.tensor([1, math.nan])),
        (torch.tensor(0.0), torch.tensor(-0.0)),
        (torch.tensor([True, False]), torch.tensor([True, True])),
    ],
)
def test_every_part_of_a_training_state_counts(one, other):
    assert verify_resume._equal(one, deepcopy(one))
    assert not verify_resume._equal(one, other)


@pytest.mark.parametrize(("resumed", "said"), [(0, "resumed 0 times (no kill came after"), (1, "resumed 1 time\n")])
def test_a_verdict_says_how_often_there_was_something_to_resume(copy, recorded, capsys, resumed, said):
    assert verify_resume._print_verdict(copy, recorded, resumed)
    assert said in capsys.readouterr().out
