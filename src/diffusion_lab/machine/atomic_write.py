"""Replace files atomically: a reader, or a restart after a crash, finds the old content or the new, never a part.

The new content goes to a temporary file in the same folder, is flushed to the disk and renamed over the old file;
then the folder is flushed, which makes the rename itself survive a power failure. The temporary file is called
``.<name>.<process id>.tmp``, so that those of processes that were killed can be recognized and removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO

from diffusion_lab.errors import LabError

if TYPE_CHECKING:
    import numpy as np


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary binary file that replaces `path` when the block ends; an error in the block leaves `path` alone.

    Raises:
        OSError: if the file cannot be written.
    """
    with _replacement(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically.

    Raises:
        LabError: naming the file, if it cannot be written.
    """
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise LabError(f"cannot write {path}: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8.

    Raises:
        LabError: naming the file, if it cannot be written.
    """
    write_bytes(path, text.encode())


def write_array(path: Path, array: np.ndarray) -> None:
    """Write `array` to the NumPy file `path` atomically.

    Raises:
        LabError: naming the file, if it cannot be written.
    """
    import numpy as np  # here, so that lists of runs do not wait for it

    try:
        with atomic_write(path) as file:
            # Given the file itself, NumPy writes past Python, and does not say why that fails.
            np.save(SimpleNamespace(write=file.write), array)
    except OSError as error:
        raise LabError(f"cannot write {path}: {error.strerror}") from error


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files, each atomically and none before all of them are on the disk.

    Raises:
        LabError: naming the file that cannot be written; before the last one is, all are as they were.
    """
    try:
        with contextlib.ExitStack() as written:
            for path, content in contents.items():
                file = written.enter_context(atomic_write(path))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise LabError(f"cannot write {error.filename}: {error.strerror}") from error


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder whose files go to the folder `path` when the block ends; none of them if it fails.

    Raises:
        LabError: if they cannot be written, or of the block; files are named as they would be called in `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        path.mkdir(exist_ok=True)
        for file in sorted(temporary.iterdir()):
            file.replace(path / file.name)
        _flush_folder(path)
    except OSError as error:
        raise LabError(f"cannot write {_in(path, temporary, error.filename or path)}: {error.strerror}") from error
    except LabError as error:
        raise LabError(_in(path, temporary, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _in(path: Path, temporary: Path, text: object) -> str:
    return str(text).replace(str(temporary), str(path))


def link_or_copy(source: Path, path: Path) -> None:
    """Make `path` a hard link to `source`, atomically; a copy where the file system has no hard links.

    Raises:
        OSError: if neither can be made.
    """
    try:
        with _replacement(path) as temporary:
            os.link(source, temporary)
    except OSError:
        with atomic_write(path) as file, source.open("rb") as original:
            shutil.copyfileobj(original, file)


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file to be made in the block, which is then renamed to `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # A killed process with the same id may have left one; if that is a hard link, writing would change its source.
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        if error.filename not in (None, str(temporary)):  # of another file
            raise
        # People do not know the temporary file.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        # After an error; and renaming a hard link to another name of the same file does nothing.
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # file systems that cannot flush a folder
            raise
    finally:
        os.close(descriptor)
