"""What the entry point of the scripts does with any error."""

import errno
import os

import pytest

from diffusion_lab.config.cli import one_line, share_the_cores


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_cannot_be_written_to_is_named_with_the_file(number):
    reason = os.strerror(number)
    assert one_line(OSError(number, reason, "runs/a/last.ckpt")) == f"cannot write runs/a/last.ckpt: {reason}"
    assert one_line(OSError(number, reason)) == f"cannot write a file: {reason}"


def test_another_error_says_how_its_traceback_is_seen():
    assert one_line(RuntimeError("two\nlines")) == "RuntimeError: two lines (a traceback: DIFFUSION_LAB_DEBUG=1)"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"GOMP_SPINCOUNT": "30000"}),
        ({"GOMP_SPINCOUNT": "5"}, {"GOMP_SPINCOUNT": "5"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_threads_wait_passively_unless_the_user_says_how_they_wait(monkeypatch, before, after):
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    share_the_cores()
    assert {name: os.environ[name] for name in names if name in os.environ} == after
