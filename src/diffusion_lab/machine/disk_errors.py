"""A disk that is full or cannot be written to: errors that have no file's name, or arise in a library's thread."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from diffusion_lab.errors import LabError

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)

#: Of threads that have ended by them.
_of_threads: list[OSError] = []


def is_unwritable(error: BaseException) -> bool:
    """Return whether an error is that of a disk that is full, or that cannot be written to."""
    return isinstance(error, OSError) and error.errno in _UNWRITABLE


def check_writable(folder: Path) -> None:
    """Check that files can be written in a folder that exists or can be made, before there is something to write.

    Raises:
        LabError: naming the folder.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not os.access(nearest, os.W_OK):
        raise LabError(f"cannot write in {nearest}: it is read-only, or somebody else's")


@contextlib.contextmanager
def named(folder: Path) -> Iterator[None]:
    """Name `folder` in such errors of the block that name no file: those of writing to a file that is open.

    A thread of a library that writes there, such as TensorBoard's, ends by such an error without the traceback that
    Python would print: it is raised at the end of the block, unless another one is raised before.

    Raises:
        LabError: instead of the error.
    """
    _of_threads.clear()
    if threading.excepthook is not _keep:
        threading.excepthook = _keep
    try:
        yield
        if _of_threads:
            raise _of_threads[0]
    except OSError as error:
        if not is_unwritable(error) or error.filename is not None:
            raise
        raise LabError(f"cannot write a file in {folder}: {error.strerror}") from error


def _keep(thrown: threading.ExceptHookArgs) -> None:
    if thrown.exc_value is not None and is_unwritable(thrown.exc_value):
        assert isinstance(thrown.exc_value, OSError)
        _of_threads.append(thrown.exc_value)
    else:
        threading.__excepthook__(thrown)
