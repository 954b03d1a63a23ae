"""The pool of cores and GPUs, with real processes and real locks."""

import os
import signal
import subprocess
import sys
import time

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.machine import resource_pool
from diffusion_lab.machine.file_lock import Lock
from diffusion_lab.machine.resource_pool import Pool

#: A program that takes GPUs from the pool, prints their names, and holds them for some seconds or until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from diffusion_lab.machine.resource_pool import Pool
directory, count, seconds, *names = sys.argv[1:]
waiting = lambda: print("waits", flush=True)
held = Pool(Path(directory)).take("gpu", names, int(count), lambda: False, waiting)
print(*held, flush=True)
time.sleep(float(seconds))
"""


def holder(directory, count, seconds, *names):
    command = [sys.executable, "-c", HOLDER, str(directory), str(count), str(seconds), *names]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def never():
    return False


def silent():
    pass


def test_no_two_processes_hold_the_same_and_a_third_waits_and_reports_it_once(tmp_path):
    processes = [holder(tmp_path, 1, 60, "a", "b") for _ in range(2)]
    try:
        assert sorted(process.stdout.readline().strip() for process in processes) == ["a", "b"]
        third = holder(tmp_path, 1, 0, "a", "b")
        processes.append(third)
        assert third.stdout.readline() == "waits\n"
        time.sleep(0.6)  # several attempts
        assert third.poll() is None
        freed = processes[0]
        freed.send_signal(signal.SIGKILL)
        freed.wait()
        said = third.communicate(timeout=30)[0].splitlines()
        assert len(said) == 1  # not "waits" again
        assert said[0] in ("a", "b")
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_request_for_all_is_served_before_later_ones_for_one(tmp_path):
    pool, order = Pool(tmp_path), []
    (held,) = pool.take("core", ["0", "1"], 1, never, silent).values()
    all_cores = subprocess.Popen(
        [sys.executable, "-c", HOLDER.replace('"gpu"', '"core"'), str(tmp_path), "2", "0", "0", "1"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert all_cores.stdout.readline() == "waits\n"
    deadline = time.monotonic() + 0.6
    assert pool.take("core", ["0", "1"], 1, lambda: time.monotonic() > deadline, lambda: order.append("waits")) is None
    assert order == ["waits"]
    held.release()
    assert sorted(all_cores.communicate(timeout=30)[0].split()) == ["0", "1"]


def test_a_turn_that_comes_at_once_is_not_reported_as_a_wait(tmp_path, monkeypatch):
    pool, reports = Pool(tmp_path), []
    turn = Lock.take(tmp_path / "gpu.turn")  # another request, which finds what it needs
    monkeypatch.setattr(resource_pool.time, "sleep", lambda seconds: turn.release())
    assert set(pool.take("gpu", ["a"], 1, never, lambda: reports.append("waits"))) == {"a"}
    assert reports == []


def test_released_resources_are_free_again_and_a_request_for_none_takes_none(tmp_path):
    pool = Pool(tmp_path)
    first = pool.take("gpu", ["a"], 1, never, silent)
    assert pool.take("gpu", ["a"], 1, lambda: True, silent) is None
    assert pool.take("core", ["a"], 1, never, silent) is not None
    first["a"].release()
    assert set(pool.take("gpu", ["a"], 1, never, silent)) == {"a"}
    assert pool.take("gpu", ["a"], 0, never, silent) == {}


def test_a_lock_is_held_until_the_process_that_inherited_it_has_ended_too(tmp_path):
    lock = Lock.take(tmp_path / "lock")
    heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.descriptor])
    os.close(lock.descriptor)  # as if this process were killed
    assert Lock.take(tmp_path / "lock") is None
    heir.communicate(b"\n")
    assert Lock.take(tmp_path / "lock") is not None


def test_a_pool_of_another_user_is_refused(tmp_path, monkeypatch):
    Pool(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(LabError, match="belongs to another user"):
        Pool(tmp_path)
