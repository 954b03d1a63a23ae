"""What `--help` says, read from the comments of the config tree, so that it cannot fall behind it.

The leading comment of a script's config is its introduction; the comment beside a group in the defaults list, and
beside a key, says what it is for; the leading comment of an option's file says what the option is. A config without
groups is that of a script without Hydra.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from diffusion_lab.config.tree import conf_dir, options

_HYDRA = """\
  --cfg job         every key with its value, composed from what else is typed
  -m, --multirun    once for each combination of values: -m seed=1,2,3
  -sc install=bash  prints the shell's completion: eval "$(python scripts/{script}.py -sc install=bash)"
"""
_DEBUG = "  DIFFUSION_LAB_DEBUG=1 in the environment adds the traceback to an error\n"


def help_text(config_name: str) -> str:
    """The help of the script that composes `config_name`."""
    lines = (conf_dir() / f"{config_name}.yaml").read_text().splitlines()
    introduction, groups, keys = leading_comment(lines), group_comments(lines), key_comments(lines)
    text = ["\n".join(introduction)]
    if groups:
        text += ["", "Groups, each with its options (* is the default):", ""]
    for group, (default, comment) in groups.items():
        text.append(_entry(group, comment, 2))
        for option in options(group):
            said = " ".join(leading_comment(_option(group, option).read_text().splitlines()))
            text.append(_entry(("* " if option == default else "  ") + option, said, 4))
    text += ["", "Keys:", ""]
    text += [_entry(key, comment, 2) for key, comment in keys.items()]
    footer = (_HYDRA.format(script=config_name) if groups else "") + _DEBUG
    return "\n".join([*text, "", footer])


def leading_comment(lines: list[str]) -> list[str]:
    """The comment lines a file begins with, without their `#`; Hydra's own directive left out."""
    found = []
    for line in lines:
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            found.append(line.removeprefix("#").removeprefix(" "))
    return found


def group_comments(lines: list[str]) -> dict[str, tuple[str, str]]:
    """Each group of a defaults list, with its default option and the comment beside it."""
    found = {}
    for line in lines:
        if match := re.match(r"  - (\w+): (\w+)(?: +# (.*))?$", line):
            found[match[1]] = (match[2], match[3] or "")
    return found


def key_comments(lines: list[str]) -> dict[str, str]:
    """The keys at the top of a config that carry a comment, and those one level below them."""
    found = {}
    parent = ""
    for line in lines:
        if match := re.match(r"( *)(\w+):(?: *([^#]*?))?(?: +# (.*))?$", line):
            parent = parent if match[1] else match[2]
            key = f"{parent}.{match[2]}" if match[1] else match[2]
            if match[4]:
                found[key] = match[4]
    return found


def _option(group: str, option: str) -> Path:
    return conf_dir() / group / f"{option}.yaml"


def _entry(name: str, said: str, indent: int) -> str:
    said, _, example = said.partition("; e.g. ")
    text = textwrap.fill(said, 112, initial_indent=f"{' ' * indent}{name:<{24 - indent}} ", subsequent_indent=" " * 25)
    return f"{text}\n{' ' * 25}e.g. {example}" if example else text
