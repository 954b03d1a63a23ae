"""The kinds and ranges of what a manifest records. A run folder may come from anyone: its numbers are claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusion_lab.run_folder.kinds import (
    Check,
    Kinds,
    are_mappings,
    are_texts,
    check_kinds,
    is_mapping,
    is_number,
    matching,
    whole_number,
)

#: The fields that the project reads again, with what they may be, in words and as a check. Others may be anything.
_RUN: Kinds = {
    "seed": ("a whole number from 0 to 2**32 - 1", whole_number(0, 2**32 - 1)),
    "status": ("a word", matching(r"[a-z ]{1,40}")),
    "stopped_by": ("a word", matching(r"[a-z_]{1,40}")),
    "sessions": ("a list of mappings", are_mappings),
    "options": ("a mapping", is_mapping),
    "data": ("a mapping", is_mapping),
    "parameters": ("a whole number", whole_number(0, 10**15)),
    "steps": ("a whole number", whole_number(0, 10**15)),
}
_SESSION: Kinds = {
    "started": ("a time", matching(r"[\d:T.+\-Z ]{10,40}")),
    "ended": ("a time", matching(r"[\d:T.+\-Z ]{10,40}")),
    "status": ("a word", matching(r"[a-z ]{1,40}")),
    "argv": ("a list of texts", are_texts),
    "git": ("a mapping", is_mapping),
    "versions": ("a mapping", is_mapping),
    "hardware": ("a mapping", is_mapping),
    "computing": ("a mapping", is_mapping),
    "fingerprint": ("a mapping", is_mapping),
    "own_code": ("a mapping", is_mapping),
    "process_id": ("a process number", whole_number(1, 2**31 - 1)),
    "host": ("a text", matching(r".{0,255}")),
    "slurm_job": ("a text", matching(r".{0,255}")),
    "wall_time_s": ("a number of seconds", lambda value: is_number(value) and value >= 0),
}
#: Fields of the mappings in a session.
_INSIDE: dict[tuple[str, str], tuple[str, Check]] = {
    ("git", "commit"): ("a commit's hash", matching(r"[0-9a-f]{7,64}")),
    ("git", "patch"): ("the name of a patch", matching(r"code_\d{1,9}\.patch")),
    ("hardware", "threads"): ("a whole number from 1 to 65,536", whole_number(1, 2**16)),
    ("computing", "threads"): ("a whole number from 1 to 65,536", whole_number(1, 2**16)),
    ("computing", "processes"): ("a whole number from 1 to 1,000,000", whole_number(1, 10**6)),
}


def check_manifest(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the content of a manifest if each field that is read again is of the kind that is recorded. None is none.

    Raises:
        LabError: naming the file, the first field that is not, and what it must be.
    """
    check_kinds(content, _RUN, path)
    for number, session in enumerate(content.get("sessions") or []):
        where = f"sessions[{number}]."
        check_kinds(session, _SESSION, path, where)
        for (part, name), kind in _INSIDE.items():
            check_kinds(session.get(part) or {}, {name: kind}, path, f"{where}{part}.")
    return content
