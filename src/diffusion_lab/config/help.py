"""Text of `--help`, made from the comments of the config tree, so that it is never out of date.

The leading comment of a script's config introduces it; a comment beside a group in the defaults list, or beside a
key, explains the group or key; the leading comment of an option's file explains the option. The scripts that do not
use Hydra have a config without groups.
"""

from __future__ import annotations

import re
import textwrap

from diffusion_lab.config.command_names import as_typed, is_installed
from diffusion_lab.config.tree import conf_dir, option_file, options

_HYDRA = """\
  --cfg job         every key with its value, composed from what else is typed
  -m, --multirun    once for each combination of values: -m seed=1,2,3
"""
#: `diffusion-lab completion` is for all commands.
_COMPLETION = """\
  -sc install=bash  prints the shell's completion: eval "$(python scripts/{script}.py -sc install=bash)"
"""
_DEBUG = "  DIFFUSION_LAB_DEBUG=1 in the environment adds the traceback to an error\n"
_TRUST = "  DIFFUSION_LAB_TRUST=mynets lets a config name classes of your own module mynets\n"


def help_text(config_name: str) -> str:
    """Return the help of the script whose config is `config_name`."""
    lines = (conf_dir() / f"{config_name}.yaml").read_text(encoding="utf-8").splitlines()
    introduction, groups, keys = leading_comment(lines), group_comments(lines), key_comments(lines)
    text = ["\n".join(introduction)]
    if groups:
        text += ["", "Groups, each with its options (* is the default):", ""]
    for group, (default, comment) in groups.items():
        text.append(_entry(group, comment, 2))
        for option in options(group):
            explanation = " ".join(leading_comment(option_file(group, option).read_text(encoding="utf-8").splitlines()))
            text.append(_entry(("* " if option == default else "  ") + option, explanation, 4))
    text += ["", "Keys:", ""]
    text += [_entry(key, comment, 2) for key, comment in keys.items()]
    completion = "" if is_installed() else _COMPLETION.format(script=config_name)
    footer = (_HYDRA + completion + _TRUST if groups else "") + _DEBUG
    return as_typed("\n".join([*text, "", footer]))


def leading_comment(lines: list[str]) -> list[str]:
    """Return the comment lines at the start of a file, without `#` and without Hydra's `@package` directive."""
    found = []
    for line in lines:
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            found.append(line.removeprefix("#").removeprefix(" "))
    return found


def group_comments(lines: list[str]) -> dict[str, tuple[str, str]]:
    """Return for each group of a defaults list its default option and the comment beside it."""
    found = {}
    for line in lines:
        if match := re.match(r"  - (\w+): (\w+)(?: +# (.*))?$", line):
            found[match[1]] = (match[2], match[3] or "")
    return found


def key_comments(lines: list[str]) -> dict[str, str]:
    """Return the comments of a config's keys, at the top level and one level below, by dotted key."""
    found = {}
    parent = ""
    for line in lines:
        if match := re.match(r"( *)(\w+):(?: *([^#]*?))?(?: +# (.*))?$", line):
            parent = parent if match[1] else match[2]
            key = f"{parent}.{match[2]}" if match[1] else match[2]
            if match[4]:
                found[key] = match[4]
    return found


def _entry(name: str, explanation: str, indent: int) -> str:
    """Return the lines of the help for one group, option or key, with an example that follows ``; e.g. ``."""
    explanation, _, example = explanation.partition("; e.g. ")
    first = f"{' ' * indent}{name:<{24 - indent}} "
    text = textwrap.fill(explanation, 112, initial_indent=first, subsequent_indent=" " * 25)
    return f"{text}\n{' ' * 25}e.g. {example}" if example else text
