"""What the entry point of the scripts does with any error."""

import errno
import os

import pytest

from diffusion_lab.config.cli import one_line


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_cannot_be_written_to_is_named_with_the_file(number):
    reason = os.strerror(number)
    assert one_line(OSError(number, reason, "runs/a/last.ckpt")) == f"cannot write runs/a/last.ckpt: {reason}"
    assert one_line(OSError(number, reason)) == f"cannot write a file: {reason}"


def test_another_error_says_how_its_traceback_is_seen():
    assert one_line(RuntimeError("two\nlines")) == "RuntimeError: two lines (a traceback: DIFFUSION_LAB_DEBUG=1)"
