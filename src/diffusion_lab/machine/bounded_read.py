"""Read files of run folders, which may come from anyone: regular files of a limited size, in the folder itself.

A link could lead anywhere, a named pipe makes its reader wait for ever, and a sparse file of some bytes on the disk can
declare terabytes. All of these are refused before anything is read.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import yaml

from diffusion_lab.errors import LabError

#: The largest files that are read, in bytes, by the ending of their names.
LARGEST = {
    ".yaml": 2 * 2**20,
    ".json": 32 * 2**20,
    ".csv": 256 * 2**20,
    ".f32": 256 * 2**20,
    ".patch": 64 * 2**20,
    ".npy": 64 * 2**30,
    ".ckpt": 1024 * 2**30,
    **dict.fromkeys((".safetensors", ".pt", ".pth", ".bin"), 1024 * 2**30),
}

#: Files above this size must have most of their bytes on the disk.
_MAY_BE_SPARSE = 2**20

#: The deepest nesting, the most values and the longest whole numbers, in digits, of JSON and YAML files.
DEEPEST, MOST_VALUES, MOST_DIGITS = 50, 1_000_000, 20

#: The most cells of a CSV file, and the longest number that YAML may hold without quotes, in characters.
MOST_CELLS, _LONGEST_NUMBER = 8_000_000, 100

#: Folders of loggers in a run folder that keep links of their own, and in which this project reads and writes nothing.
OF_LOGGERS = ("wandb",)

_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RefusedFileError(LabError):
    """The line of this error names a file that is not read, and why."""


def open_bounded(path: Path, mode: str = "rb") -> IO[bytes]:
    """Open a regular file of limited size, to read it or (``r+b``, ``ab``) to change it in place.

    Raises:
        FileNotFoundError: if it does not exist.
        RefusedFileError: naming the file, if it is a link or no regular file, is larger than `LARGEST` says or mostly
            holes, or is to be changed and has a second name, which may lie in another folder.
        OSError: if it cannot be opened.
    """
    flags = {"rb": os.O_RDONLY, "r+b": os.O_RDWR, "ab": os.O_WRONLY | os.O_APPEND}[mode]
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        raise RefusedFileError(f"{path} is a link: a run folder must hold its files itself")
    if not stat.S_ISREG(status.st_mode):
        raise RefusedFileError(f"{path} is no regular file")
    # Without O_NONBLOCK, a pipe that has taken its place meanwhile would be waited for.
    file = os.fdopen(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), mode)
    try:
        _check_opened(path, os.fstat(file.fileno()), mode)
    except BaseException:
        file.close()
        raise
    return file


def read_bounded(path: Path) -> bytes:
    """Return the content of a file: see `open_bounded`."""
    with open_bounded(path) as file:
        return file.read(LARGEST.get(path.suffix, LARGEST[".json"]) + 1)


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object; it is empty if there is no such file.

    Raises:
        LabError: naming the file, if it is damaged or refused.
    """
    try:
        content = json.loads(read_bounded(path).decode(), parse_int=_whole_number)
        check_values(content)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except RefusedFileError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise LabError(f"{path} is damaged: {_one_line(error)}") from error
    if not isinstance(content, dict):
        raise LabError(f"{path} is damaged: it holds no mapping")
    return content


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file: mappings with texts as keys, lists, texts, numbers, booleans and nulls.

    Raises:
        LabError: naming the file, if it is missing, damaged or refused, or if it has aliases, a few of which can stand
            for more than any memory holds.
    """
    try:
        text = read_bounded(path).decode()
        _check_events(text)
        content = yaml.load(text, Loader=_YAML_LOADER)  # a safe loader
        check_values(content)
    except RefusedFileError:
        raise
    except (OSError, ValueError, RecursionError, OverflowError, yaml.YAMLError) as error:
        raise LabError(f"{path} is damaged: {_one_line(error)}") from error
    return content


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV file with a header; none if there is no such file.

    Raises:
        LabError: naming the file, if it is damaged or refused.
    """
    try:
        text = read_bounded(path).decode(errors="replace")
        check_csv(text)
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except FileNotFoundError:
        return []
    except RefusedFileError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise LabError(f"{path} is damaged: {_one_line(error)}") from error


def check_csv(text: str) -> None:
    """Check the size of a table: as many cells as its header has columns, in each line.

    Raises:
        ValueError: if there are too many.
    """
    header, _, _ = text.partition("\n")
    cells = (header.count(",") + 1) * (text.count("\n") + 1)
    if cells > MOST_CELLS:
        raise ValueError(f"it declares {cells:,} cells, and such files may have {MOST_CELLS:,}")


def check_second_names(folder: Path) -> None:
    """Check that what is changed in a folder is in that folder alone; checkpoints are never changed in place.

    Raises:
        RefusedFileError: naming the first file that has a second name (a hard link), perhaps in another folder.
    """
    for path in _entries(folder.resolve(), frozenset(OF_LOGGERS)):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and path.suffix != ".ckpt":
            raise RefusedFileError(
                f"{path} has a second name (a hard link), perhaps in another folder, and may not be changed: copy the "
                "run folder and resume the copy"
            )


def _check_events(text: str) -> None:
    """Check the nesting, aliases and numbers of YAML text, whose loader would recurse and compute without bounds."""
    depth = 0
    for event in yaml.parse(text, _YAML_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases, and a few of them can stand for more than any memory holds")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"it is nested more than {DEEPEST} deep")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0] and is_long_number(event.value):
            raise ValueError(f"a number in it has {len(event.value):,} characters")


def is_long_number(value: str) -> bool:
    """Return whether a text that is not quoted would be refused in YAML as a number that is too long."""
    return len(value) > _LONGEST_NUMBER and value[0] in "+-.:0123456789"


def check_values(content: Any) -> None:
    """Check the nesting, number and kinds of the values in a plain container, without recursion.

    Raises:
        ValueError: saying what is too deep, too many or of another kind.
    """
    waiting: list[tuple[Iterable[Any], int]] = [([content], 0)]
    count = 0
    while waiting:
        values, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        for value in values:
            count += 1
            if count > MOST_VALUES:
                raise ValueError(f"it has more than {MOST_VALUES:,} values")
            if isinstance(value, dict):
                for key in value:
                    if not isinstance(key, str):
                        raise ValueError(f"a key in it is a {type(key).__name__}, not a text")
                waiting.append((value.values(), depth + 1))
            elif isinstance(value, list):
                waiting.append((value, depth + 1))
            elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**MOST_DIGITS:
                raise ValueError(f"a whole number in it has more than {MOST_DIGITS} digits")
            elif value is not None and not isinstance(value, str | int | float | bool):
                raise ValueError(f"a value in it is a {type(value).__name__}")


def check_folder(folder: Path, spared: Iterable[str] = ()) -> None:
    """Check that nothing in a folder leads out of it, so that what is written there stays there.

    Args:
        folder: which may itself be reached through a link.
        spared: names of entries of `folder` that are not looked at.

    Raises:
        RefusedFileError: naming the first link that leads out of the folder, or entry that is no file or folder.
    """
    top = folder.resolve()
    for path in _entries(top, frozenset(spared)):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) and not _inside(path, top):
            raise RefusedFileError(f"{path} is a link that leads out of {top}: a run folder must hold its files itself")
        if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise RefusedFileError(f"{path} is neither a file nor a folder")


def _entries(top: Path, spared: frozenset[str]) -> Iterator[Path]:
    for parent, folders, files in os.walk(top):
        if Path(parent) == top:
            folders[:] = [name for name in folders if name not in spared]
        yield from (Path(parent, name) for name in [*folders, *files])


def _inside(link: Path, top: Path) -> bool:
    try:
        return link.resolve().is_relative_to(top)
    except (OSError, RuntimeError):  # a circle of links
        return False


def _check_opened(path: Path, status: os.stat_result, mode: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise RefusedFileError(f"{path} is no regular file")
    most = LARGEST.get(path.suffix, LARGEST[".json"])
    if status.st_size > most:
        raise RefusedFileError(f"{path} has {status.st_size:,} bytes, and such files may have {most:,}")
    if status.st_size > _MAY_BE_SPARSE and status.st_blocks * 512 < status.st_size // 16:
        raise RefusedFileError(f"{path} declares {status.st_size:,} bytes, most of which are not on the disk")
    if mode != "rb" and status.st_nlink > 1:
        raise RefusedFileError(f"{path} has a second name, perhaps in another folder: it is not changed")


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS + 1:
        raise ValueError(f"a whole number in it has {len(digits):,} digits")
    return int(digits)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
