import errno
import os
import threading

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.machine import disk_errors


def full(name=None):
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)


def in_thread(error):
    def fail():
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_a_file_without_a_name_is_named_by_its_folder(number, tmp_path):
    with pytest.raises(LabError) as caught, disk_errors.named(tmp_path):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"cannot write a file in {tmp_path}: {os.strerror(number)}"


@pytest.mark.parametrize("error", [full("runs/a/x"), OSError(errno.ENOENT, "missing"), ValueError("of another kind")])
def test_other_errors_are_left_as_they_are(error, tmp_path):
    with pytest.raises(type(error)) as caught, disk_errors.named(tmp_path):
        raise error
    assert caught.value is error


def test_an_error_of_a_thread_is_raised_at_the_end_and_not_printed(tmp_path, capsys):
    reached = []

    def log():
        with disk_errors.kept_from_threads() as kept, disk_errors.named(tmp_path, kept):
            in_thread(full())
            reached.append("the end")

    with pytest.raises(LabError, match=f"cannot write a file in {tmp_path}: No space left"):
        log()
    assert reached
    assert capsys.readouterr().err == ""


def test_an_error_in_the_block_comes_before_that_of_a_thread(tmp_path):
    def fail():
        with disk_errors.kept_from_threads() as kept, disk_errors.named(tmp_path, kept):
            in_thread(full())
            raise ValueError("the first")

    with pytest.raises(ValueError, match="the first"):
        fail()


def test_other_errors_of_threads_and_those_after_the_block_go_to_the_hook_that_was_there(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda thrown: seen.append(str(thrown.exc_value)))
    with disk_errors.kept_from_threads() as kept:
        in_thread(ValueError("of a thread"))
        in_thread(full("inside"))
    in_thread(full("after"))
    assert [error.filename for error in kept] == ["inside"]
    assert seen == ["of a thread", str(full("after"))]


@pytest.mark.parametrize("folder", ["", "a", "a/b"])
def test_a_folder_that_cannot_be_written_in_is_named_before_there_is_something_to_write(folder, tmp_path, monkeypatch):
    disk_errors.check_writable(tmp_path / folder)
    assert not list(tmp_path.iterdir())
    asked = []
    monkeypatch.setattr(os, "access", lambda place, mode: asked.append((place, mode)))
    with pytest.raises(LabError, match=f"cannot write in {tmp_path}: it is read-only"):
        disk_errors.check_writable(tmp_path / folder)
    assert asked == [(tmp_path, os.W_OK)]
