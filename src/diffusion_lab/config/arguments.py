"""Command line of the scripts that read run folders: paths and `key=value` in any order, without Hydra or torch.

The keys, their defaults and their help texts are those of conf/<name>.yaml; their types those of
`config/reader_schema.py`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

import yaml

from diffusion_lab.config.annotations import choices, describe, fits, type_hints
from diffusion_lab.config.cli import exit_on_error, print_help
from diffusion_lab.config.overrides import parsed, readable_overrides
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.errors import LabError, did_you_mean, unknown_key

Settings = TypeVar("Settings")


def run_on_paths(config_name: str, schema: type[Settings], task: Callable[[list[str], Settings], Any]) -> None:
    """Run `task` on the paths and the settings of the command line.

    An error is printed in one line and ends the program with a status other than 0.

    Args:
        config_name: name of the YAML file in conf/ that holds the defaults.
        schema: dataclass of the settings.
        task: function of the list of paths and the settings.
    """
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        exit_on_error(lambda: print_help(config_name))
    else:
        exit_on_error(lambda: task(*parse_arguments(arguments, config_name, schema)))


def run_on_words(help_text: str, task: Callable[[list[str]], Any]) -> None:
    """Run `task` on what was typed, as it stands, or print the help.

    An error is printed in one line and ends the program with a status other than 0.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text, end="")
    else:
        exit_on_error(lambda: task(sys.argv[1:]))


def parse_arguments(arguments: Sequence[str], config_name: str, schema: type[Settings]) -> tuple[list[str], Settings]:
    """Split a command line into paths and settings.

    An argument that is not `key=value` is a path; a path that looks like one is written ``./a=b``.

    Raises:
        LabError: naming a key that does not exist or a value of the wrong type.
    """
    values = yaml.safe_load((conf_dir() / f"{config_name}.yaml").read_text(encoding="utf-8"))
    hints = {name: hint for name, hint in type_hints(schema).items() if name != "return"}
    paths = []
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if argument.startswith("-"):
            raise LabError(f"there is no option {argument}: settings are written key=value (see --help)")
        if not equals or not re.fullmatch(r"[\w.]*", key):
            paths.append(argument)
        elif key not in hints:
            raise LabError(unknown_key(key, list(hints)))
        else:
            values[key] = _value(key, text, hints[key])
            if not fits(values[key], hints[key]):
                guess = did_you_mean(text, choices(hints[key]))
                raise LabError(f"{argument}: it must be {describe(hints[key])}{guess}")
    try:
        return paths, schema(**values)
    except ValueError as error:
        raise LabError(str(error)) from error


def _value(key: str, text: str, hint: Any) -> Any:
    """Return the value of a key as Hydra reads it; the parts of a list of texts may stand without brackets."""
    if hint == list[str]:
        parts = re.findall(r"'[^']*'|\"[^\"]*\"|[^,]+", text.strip("[]"))
        return [_value(key, part.strip(), str) for part in parts if part.strip()]
    texts = {key} if str in (hint, *get_args(hint)) else set()
    (readable,) = readable_overrides([f"{key}={text}"], texts, sweeps=False)
    override = parsed(readable)
    return text if override is None or override.is_sweep_override() else override.value()
