"""The kinds and ranges of what a manifest records. A run folder may come from anyone: its numbers are claims."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diffusion_lab.errors import LabError

Check = Callable[[Any], bool]


def _whole(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _text(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


#: The fields that the project reads again, with what they may be, in words and as a check. Others may be anything.
_RUN: dict[str, tuple[str, Check]] = {
    "seed": ("a whole number from 0 to 2**32 - 1", _whole(0, 2**32 - 1)),
    "status": ("a word", _text(r"[a-z ]{1,40}")),
    "sessions": ("a list of mappings", _mappings),
    "options": ("a mapping", _mapping),
    "data": ("a mapping", _mapping),
    "parameters": ("a whole number", _whole(0, 10**15)),
    "steps": ("a whole number", _whole(0, 10**15)),
}
_SESSION: dict[str, tuple[str, Check]] = {
    "started": ("a time", _text(r"[\d:T.+\-Z ]{10,40}")),
    "ended": ("a time", _text(r"[\d:T.+\-Z ]{10,40}")),
    "status": ("a word", _text(r"[a-z ]{1,40}")),
    "argv": ("a list of texts", _texts),
    "git": ("a mapping", _mapping),
    "versions": ("a mapping", _mapping),
    "hardware": ("a mapping", _mapping),
    "computing": ("a mapping", _mapping),
    "fingerprint": ("a mapping", _mapping),
    "process_id": ("a process number", _whole(1, 2**31 - 1)),
    "host": ("a text", _text(r".{0,255}")),
    "slurm_job": ("a text", _text(r".{0,255}")),
    "wall_time_s": ("a number of seconds", _seconds),
}
#: Fields of the mappings in a session.
_INSIDE: dict[tuple[str, str], tuple[str, Check]] = {
    ("git", "commit"): ("a commit's hash", _text(r"[0-9a-f]{7,64}")),
    ("git", "patch"): ("the name of a patch", _text(r"code_\d{1,9}\.patch")),
    ("hardware", "threads"): ("a whole number from 1 to 65,536", _whole(1, 2**16)),
    ("computing", "threads"): ("a whole number from 1 to 65,536", _whole(1, 2**16)),
    ("computing", "processes"): ("a whole number from 1 to 1,000,000", _whole(1, 10**6)),
}


def check_manifest(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the content of a manifest if each field that is read again is of the kind that is recorded. None is none.

    Raises:
        LabError: naming the file, the first field that is not, and what it must be.
    """
    _check(content, _RUN, "", path)
    for number, session in enumerate(content.get("sessions") or []):
        where = f"sessions[{number}]."
        _check(session, _SESSION, where, path)
        for (part, name), kind in _INSIDE.items():
            _check(session.get(part) or {}, {name: kind}, f"{where}{part}.", path)
    return content


def _check(node: Mapping[str, Any], kinds: Mapping[str, tuple[str, Check]], where: str, path: Path) -> None:
    for name, (kind, holds) in kinds.items():
        value = node.get(name)
        if value is not None and not holds(value):
            shown = ascii(value)
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise LabError(f"{path} is damaged: {where}{name} is {shown}, and must be {kind}")
