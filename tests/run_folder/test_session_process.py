"""Whether the process of a session is gone: by its number, and by when it began."""

import datetime
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffusion_lab.run_folder.session_process import _process_start, process_is_gone, time_of

PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only /proc says when a process began")


def now(seconds=0.0):
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat()


@pytest.fixture(scope="module")
def child():
    """A process that has begun just now, and waits."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.fixture(scope="module")
def ended():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_process_that_has_ended_is_gone(ended):
    for host in (platform.node(), None):
        assert process_is_gone({"process_id": ended, "host": host, "started": now()})


def test_one_that_runs_is_not(child):
    assert not process_is_gone({"process_id": child, "host": platform.node(), "started": now()})
    assert not process_is_gone({"process_id": child, "started": None})
    assert not process_is_gone({"process_id": child, "started": "some day"})


@PROC
@pytest.mark.parametrize(("seconds", "gone"), [(-1000, True), (-20, True), (-3, False), (20, False)])
def test_a_process_that_began_after_the_session_is_another_one(child, seconds, gone):
    """Their clocks may differ by some seconds."""
    assert process_is_gone({"process_id": child, "host": platform.node(), "started": now(seconds)}) is gone


@PROC
@pytest.mark.parametrize(("seconds", "gone"), [(4.99, False), (5.01, True)])
def test_the_clocks_may_differ_by_five_seconds(child, seconds, gone):
    started = datetime.datetime.fromtimestamp(_process_start(child) - seconds, datetime.UTC)
    assert process_is_gone({"process_id": child, "started": started.isoformat()}) is gone


@PROC
@pytest.mark.parametrize("name", [b"a b", b") 1 (", b"\xff"])
def test_a_process_may_have_any_name(name):
    named = f"open('/proc/self/comm', 'wb').write({name}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-ISc", named], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert process_is_gone({"process_id": process.pid, "started": now(-1000)})
        assert not process_is_gone({"process_id": process.pid, "started": now()})
        process.kill()


@PROC
def test_an_older_process_is_that_of_the_session():
    assert not process_is_gone({"process_id": os.getpid(), "started": now(time.process_time())})


@pytest.mark.parametrize("number", [None, "12", 1.5, [1]])
def test_without_a_number_nothing_is_known(number):
    assert not process_is_gone({"process_id": number, "host": platform.node(), "started": now()})


def test_processes_of_another_machine_cannot_be_looked_up(ended):
    assert not process_is_gone({"process_id": ended, "host": f"{platform.node()}-2", "started": now()})


def test_numbers_that_no_process_has_end_nothing():
    assert not process_is_gone({"process_id": 10**30, "host": platform.node(), "started": now()})


@pytest.mark.parametrize("text", [None, 5, "yesterday", ["2024-01-01"], ""])
def test_what_is_no_time_is_none(text):
    assert time_of(text) is None


def test_a_time_without_a_zone_is_in_utc():
    noon = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
    assert time_of("2024-05-01T12:00:00") == time_of("2024-05-01T14:00:00+02:00") == noon
