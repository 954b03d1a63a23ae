"""A disk that is full or cannot be written to: errors that have no file's name, or arise in a library's thread."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from diffusion_lab.errors import LabError

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


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
def kept_from_threads() -> Iterator[list[OSError]]:
    """Keep such errors by which threads end in the block, such as TensorBoard's, in the list that it yields.

    Python would print a traceback of each.
    """
    kept: list[OSError] = []
    before = threading.excepthook

    def keep(thrown: threading.ExceptHookArgs) -> None:
        if isinstance(thrown.exc_value, OSError) and is_unwritable(thrown.exc_value):
            kept.append(thrown.exc_value)
        else:
            before(thrown)

    threading.excepthook = keep
    try:
        yield kept
    finally:
        threading.excepthook = before


@contextlib.contextmanager
def named(folder: Path, of_threads: Sequence[OSError] = ()) -> Iterator[None]:
    """Name `folder` in such errors of the block that name no file: those of writing to a file that is open.

    Args:
        folder: where the block writes.
        of_threads: see `kept_from_threads`; the first is raised at the end of the block, unless that raises another.

    Raises:
        LabError: instead of the error.
    """
    try:
        yield
        if of_threads:
            raise of_threads[0]
    except OSError as error:
        if not is_unwritable(error) or error.filename is not None:
            raise
        raise LabError(f"cannot write a file in {folder}: {error.strerror}") from error
