"""The kinds of what a JSON file holds. Files that are read again may come from anyone: what they hold are claims."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from diffusion_lab.errors import LabError

Check = Callable[[Any], bool]
#: What the fields of a mapping may be, in words and as a check.
Kinds = Mapping[str, tuple[str, Check]]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole_number(low: int, high: int) -> Check:
    """Return the check for whole numbers from `low` to `high`."""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def matching(pattern: str) -> Check:
    """Return the check for texts that a regular expression matches as a whole."""
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None


def is_mapping(value: Any) -> bool:
    """Whether a value is a mapping."""
    return isinstance(value, dict)


def are_texts(value: Any) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def are_mappings(value: Any) -> bool:
    """Whether a value is a list of mappings."""
    return isinstance(value, list) and all(map(is_mapping, value))


def check_kinds(
    node: Mapping[str, Any], kinds: Kinds, path: Path, where: str = "", needed: Collection[str] = ()
) -> None:
    """Check the fields of a mapping. Fields without a kind may be anything.

    Args:
        node: the mapping.
        kinds: what its fields may be.
        path: the file that it comes from.
        where: the place of the mapping in the file, before the name of a field.
        needed: the fields that must be there; others may also be None or absent.

    Raises:
        LabError: naming the file, the first field that is absent or of another kind, and what it must be.
    """
    if lacking := [name for name in needed if name not in node]:
        raise LabError(f"{path} is damaged: it does not say {', '.join(lacking)}")
    for name, (kind, holds) in kinds.items():
        value = node.get(name)
        if (value is not None or name in needed) and not holds(value):
            shown = ascii(value)
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise LabError(f"{path} is damaged: {where}{name} is {shown}, and must be {kind}")
