"""The door of the scripts that read run folders: paths and `key=value`, in any order, without Hydra and without torch.

The keys, their defaults and what `--help` says of them stand in conf/<name>.yaml; their types in `config/schema.py`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

import yaml

from diffusion_lab.config.cli import guarded
from diffusion_lab.config.help import help_text
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.config.values import accepted, choices, fits, type_hints, unknown
from diffusion_lab.errors import LabError, did_you_mean

Settings = TypeVar("Settings")


def run_on_paths(config_name: str, schema: type[Settings], task: Callable[[list[str], Settings], Any]) -> None:
    """Run `task` on the paths and the settings of the command line; what goes wrong ends in one line and a status."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(help_text(config_name), end="")
        return

    def work() -> None:
        try:
            task(*parsed(arguments, config_name, schema))
            sys.stdout.flush()
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    guarded(work)


def parsed(arguments: Sequence[str], config_name: str, schema: type[Settings]) -> tuple[list[str], Settings]:
    """What is no `key=value` is a path; a path of that look is written ``./a=b``.

    Raises:
        LabError: naming a key that does not exist or a value that does not fit.
    """
    values = yaml.safe_load((conf_dir() / f"{config_name}.yaml").read_text())
    hints = {name: hint for name, hint in type_hints(schema).items() if name != "return"}
    paths = []
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if argument.startswith("-"):
            raise LabError(f"there is no option {argument}: what is set is key=value (see --help)")
        if not equals or not re.fullmatch(r"[\w.]*", key):
            paths.append(argument)
        elif key not in hints:
            raise LabError(unknown(key, list(hints)))
        else:
            values[key] = _value(text, hints[key])
            if not fits(values[key], hints[key]):
                guess = did_you_mean(text, choices(hints[key]))
                raise LabError(f"{argument}: it must be {accepted(hints[key])}{guess}")
    try:
        return paths, schema(**values)
    except ValueError as error:
        raise LabError(str(error)) from error


def _value(text: str, hint: Any) -> Any:
    """`text` as the type that is asked for, or as it is where it cannot be that."""
    if type(None) in get_args(hint) and text == "null":
        return None
    if hint is bool:
        return {"true": True, "false": False}.get(text, text)
    if hint == list[str]:
        return [part.strip() for part in text.strip("[]").split(",") if part.strip()]
    return text
