"""`watch_parent` in real processes: children of the test, or of a child of the test that is then killed."""

import subprocess
import sys

import pytest

#: Prints when the watch has begun, when a signal comes and when stdin ends.
WATCHING = """
import os, signal, sys
from diffusion_lab.machine.parent_watch import watch_parent

def stopped(number, frame):
    os.write(1, f"stopped by {{signal.Signals(number).name}}\\n".encode())
    {after_signal}

signal.signal(signal.SIGTERM, stopped)
watch_parent({arguments})
os.write(1, b"began\\n")
os.read(0, 1)
os.write(1, b"stdin ended\\n")
"""

#: Starts the watching process, which inherits stdin and stdout, and lives until it is killed.
STARTING = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {watching!r}])
child.wait()
"""


def watching(arguments, after_signal="sys.exit(0)"):
    return WATCHING.format(arguments=arguments, after_signal=after_signal)


def started(code):
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ("os.getppid(), send=signal.SIGTERM", "stopped by SIGTERM\n"),
        ("os.getppid(), send=signal.SIGTERM, exit_after=60.0", "stopped by SIGTERM\n"),
        ("os.getppid(), exit_after=0.0", ""),
    ],
)
def test_a_killed_parent_stops_the_process_that_it_started(arguments, printed):
    with started(STARTING.format(watching=watching(arguments))) as parent:
        assert parent.stdout.readline() == "began\n"
        parent.kill()
        # This pipe ends when the watching process has; its stdin is still open.
        assert parent.stdout.read() == printed


def test_a_parent_that_ended_before_the_watch_began_is_noticed():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with started(watching(f"{ended.pid}, send=signal.SIGTERM")) as process:
        assert process.wait(60) == 0
        assert "stopped by SIGTERM\n" in process.stdout.read()


def test_a_process_that_does_not_stop_at_the_signal_is_ended():
    with started(watching("0, send=signal.SIGTERM, exit_after=0.5", after_signal="")) as process:
        assert process.wait(60) == 1
        assert "stopped by SIGTERM\n" in process.stdout.read()


def test_nothing_happens_while_the_parent_lives():
    with started(watching("os.getppid(), send=signal.SIGTERM, exit_after=0.0")) as process:
        assert process.stdout.readline() == "began\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.stdin.close()
        assert process.wait(60) == 0
        assert process.stdout.read() == "stdin ended\n"
