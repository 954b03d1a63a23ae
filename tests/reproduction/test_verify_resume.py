"""The training processes that verify_resume starts, when they or the verification are stopped from outside."""

import multiprocessing
import os
import signal
import time

import pytest

from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.ranks import interrupt_on_sigterm
from diffusion_lab.reproduction import verify_resume
from diffusion_lab.runs.train import train

pytestmark = pytest.mark.timeout(60)


def stop_the_parent(run, overrides, options, kill_after, pipe):
    pipe.send({"folder": "a"})
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(300)


def be_killed(run, overrides, options, kill_after, pipe):
    pipe.send({"folder": "a"})
    os.kill(os.getpid(), signal.SIGKILL)


def session(kill_after=None):
    return verify_resume._session(None, [], {}, kill_after)


@pytest.mark.slow
def test_a_verification_that_is_stopped_stops_its_run(monkeypatch):
    monkeypatch.setattr(verify_resume, "_train", stop_the_parent)
    with interrupt_on_sigterm(), pytest.raises(RunInterrupted) as stopped:
        session()
    assert stopped.value.status == 128 + signal.SIGTERM


@pytest.mark.full
def test_a_run_that_somebody_else_killed_is_an_error(monkeypatch):
    monkeypatch.setattr(verify_resume, "_train", be_killed)
    folder, _, killed = session(kill_after=0.0)
    assert (str(folder), killed) == ("a", True)
    with pytest.raises(LabError, match="the run failed, killed by signal 9"):
        session()


@pytest.mark.slow
def test_a_run_that_was_killed_after_its_last_step_still_reports_its_folder(tiny):
    folder = train(tiny("console=quiet"), [])
    folder.write_json("manifest.json", folder.read_json("manifest.json") | {"status": "running"})
    receiver, sender = multiprocessing.Pipe(duplex=False)
    train(tiny("console=quiet", f"resume={folder.path}"), [], {}, [verify_resume._ReportAndKill(None, sender)])
    assert receiver.poll()
    assert receiver.recv() == {"folder": str(folder.path)}


@pytest.mark.parametrize(("resumed", "said"), [(0, "resumed 0 times (no kill came after"), (1, "resumed 1 time\n")])
def test_a_verdict_says_how_often_there_was_something_to_resume(copy, recorded, capsys, resumed, said):
    assert verify_resume._print_verdict(copy, recorded, resumed)
    assert said in capsys.readouterr().out
