"""Overrides of a config that is not composed: that of a recorded run."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: A key of a config group of which a run has its own option.
_OF_THE_RUN = re.compile(r"(?:sampler|grid|guidance|clip)\.[\w.]+=")


#: A dotted key and its value.
_OF_A_GROUP = re.compile(r"\+?([a-z_]\w*\.[\w.]+=.*)", re.DOTALL)


def as_changes_of_resumed(arguments: Sequence[str]) -> list[str]:
    """Let any key of a group be typed where a run is resumed: it is a key of the run's own config, which answers."""
    if not any(argument.startswith("resume=") and argument != "resume=null" for argument in arguments):
        return list(arguments)
    return [f"++{match[1]}" if (match := _OF_A_GROUP.fullmatch(argument)) else argument for argument in arguments]


def as_changes(arguments: Sequence[str]) -> list[str]:
    """Let keys of groups be typed where no option of the group is chosen: they change the option of the run.

    ``sampler.num_steps=50`` becomes ``++sampler.num_steps=50``, which adds the key instead of looking for it.
    """
    return [f"++{argument}" if _OF_THE_RUN.match(argument) else argument for argument in arguments]
