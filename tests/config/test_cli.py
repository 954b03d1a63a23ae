"""What the entry point of the scripts does with any error."""

import errno
import os

import pytest

from diffusion_lab.config.cli import one_line, others_are_busy, readable_arguments, share_the_cores
from diffusion_lab.errors import LabError


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_cannot_be_written_to_is_named_with_the_file(number):
    reason = os.strerror(number)
    assert one_line(OSError(number, reason, "runs/a/last.ckpt")) == f"cannot write runs/a/last.ckpt: {reason}"
    assert one_line(OSError(number, reason)) == f"cannot write a file: {reason}"


def test_another_error_says_how_its_traceback_is_seen():
    assert one_line(RuntimeError("two\nlines")) == "RuntimeError: two lines (a traceback: DIFFUSION_LAB_DEBUG=1)"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--cfg", "job", "-m", "seed=1,2"], "--multirun and --cfg"), (["--info", "--run"], "--run")],
)
def test_flags_that_exclude_each_other_are_named(arguments, named):
    with pytest.raises(LabError, match=f"{named}.* cannot be typed together"):
        readable_arguments(arguments, "train")


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, None),
        ({"GOMP_SPINCOUNT": "5"}, {"GOMP_SPINCOUNT": "5"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_threads_wait_passively_unless_the_user_says_how_they_wait(monkeypatch, before, after, busy):
    monkeypatch.setattr("diffusion_lab.config.cli.others_are_busy", lambda: busy)
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    share_the_cores()
    chosen = {"GOMP_SPINCOUNT": "1000" if busy else "30000"}
    assert {name: os.environ[name] for name in names if name in os.environ} == (chosen if after is None else after)


@pytest.mark.parametrize(("running", "busy"), [(1, False), (2, False), (3, True), (9, True)])
def test_a_machine_is_busy_if_others_use_half_of_its_cores(tmp_path, monkeypatch, running, busy):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    (tmp_path / "loadavg").write_text(f"0.50 0.40 0.30 {running}/512 4711\n")
    assert others_are_busy(tmp_path / "loadavg") is busy


@pytest.mark.parametrize("text", [None, "", "0.5 0.4 0.3 many 1"])
def test_a_machine_that_does_not_count_is_not_called_busy(tmp_path, text):
    if text is not None:
        (tmp_path / "loadavg").write_text(text)
    assert not others_are_busy(tmp_path / "loadavg")
