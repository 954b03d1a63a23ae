"""A verification's sessions: processes of their own, which may be stopped from outside."""

import os
import signal
import time

import pytest

from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.machine.ranks import terminable
from diffusion_lab.reproduction import verify_resume

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


def test_a_verification_that_is_stopped_stops_its_run(monkeypatch):
    monkeypatch.setattr(verify_resume, "_train", stop_the_parent)
    with terminable(), pytest.raises(RunInterrupted) as stopped:
        session()
    assert stopped.value.status == 128 + signal.SIGTERM


@pytest.mark.full
def test_a_run_that_somebody_else_killed_is_no_verdict(monkeypatch):
    monkeypatch.setattr(verify_resume, "_train", be_killed)
    folder, _, killed = session(kill_after=0.0)
    assert (str(folder), killed) == ("a", True)
    with pytest.raises(LabError, match="the run failed, killed by signal 9"):
        session()
