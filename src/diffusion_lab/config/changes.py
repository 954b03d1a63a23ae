"""Overrides of a config that is not composed, such as that of a recorded run."""

from __future__ import annotations

import re
from collections.abc import Sequence


def as_changes(arguments: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Let keys of `groups` be typed where no option of the group is chosen: they change the option of the run.

    ``sampler.num_steps=50`` becomes ``++sampler.num_steps=50``, which adds the key instead of looking for it.
    """
    if not groups:
        return list(arguments)
    of_a_group = re.compile(rf"(?:{'|'.join(groups)})\.[\w.]+=")
    return [f"++{argument}" if of_a_group.match(argument) else argument for argument in arguments]
