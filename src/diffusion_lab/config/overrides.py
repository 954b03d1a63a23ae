"""The one reader of `key=value` as people type it: Hydra's grammar, and text where that is all a value can mean."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_lab.config.tree import config_dirs, options
from diffusion_lab.errors import LabError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

#: An override that sets a key: its sign, key and value.
_SETTING = re.compile(r"(\+{0,2})([\w./@:-]+)=(.*)", re.DOTALL)

#: What makes a list, a mapping, a function, several values or a reference of a value, or opens a quotation.
_STRUCTURE = re.compile(r"[\[\]{}(),]|\$\{|^['\"]")

#: What Hydra reads beside `key=value`.
FORMS = "an override is key=value, +key=value or ~key"


def readable_overrides(arguments: Sequence[str], texts: Collection[str], sweeps: bool) -> list[str]:
    """Return overrides that Hydra can read: values that can only mean text are put in quotes.

    That is what Hydra's grammar has no meaning for, as long as it looks like nothing else; and of a key whose values
    are texts, whatever Hydra would read as something else.

    Args:
        arguments: overrides as they were typed, without flags.
        texts: the dotted keys whose values are texts.
        sweeps: whether several values of a key may be typed.

    Raises:
        LabError: naming an override that cannot be read, and how its value is typed as text.
    """
    return [_readable(argument, texts, sweeps) for argument in arguments]


def check_options(overrides: Sequence[str]) -> None:
    """Raise LabError if a config group gets something that is no option's name, nor several of them."""
    for argument in overrides:
        match, override = _SETTING.fullmatch(argument), parsed(argument)
        known = options(match[2].partition("@")[0]) if match else []
        if override is not None and known and not all(map(_names_options, _values(override))):
            raise LabError(f"{argument}: choose from {', '.join(known)}")


def parsed(override: str) -> Override | None:
    """Return what Hydra reads in an override; None if it cannot read it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def set_in_each_job(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a sweep over a group's options, in which each job sets the keys of the others.

    Hydra sets a key that has one value before any job has chosen its option, and would look for it in the default one.
    As one of several values, ``choice(…)``, it is set in each job.
    """
    read = [(text, parsed(text), _SETTING.fullmatch(text)) for text in overrides]
    if not any(override and override.is_sweep_override() and options(override.key_or_group) for _, override, _ in read):
        return list(overrides)
    return [
        f"{match[1]}{match[2]}=choice({match[3]})"
        if override and match and match[3] and _is_of_a_job(override)
        else text
        for text, override, match in read
    ]


def own_config_dirs(config_dir: str | None, overrides: Sequence[str]) -> list[Path]:
    """Return the folders that `--config-dir` and the override `hydra.searchpath` name, which mean the same.

    Raises:
        LabError: naming a folder that does not exist.
    """
    typed = [("--config-dir", config_dir)] if config_dir else []
    for override in filter(None, map(parsed, overrides)):
        if override.key_or_group == "hydra.searchpath":
            value = override.value()
            typed += [("hydra.searchpath", str(part)) for part in (value if isinstance(value, list) else [value])]
    return [_config_dir(key, where) for key, where in typed]


def quoted(value: str) -> str:
    """Return a text as Hydra reads it: in quotes, before which backslashes are doubled."""
    quote = "'" if '"' in value and "'" not in value else '"'
    escaped = re.sub(rf"(\\*)({quote})", r"\1\1\\\2", value)
    return quote + re.sub(r"(\\+)\Z", r"\1\1", escaped) + quote


def searchpath() -> list[str]:
    """Return the override by which Hydra looks into the user's own folders; no override if there are none."""
    listed = ",".join(quoted(f"file://{folder}") for folder in config_dirs()[1:])
    return [f"hydra.searchpath=[{listed}]"] if listed else []


def as_text(key: str, value: str) -> str:
    """Return the override, for a shell, that gives a key this value as text."""
    return shlex.quote(f"{key}={quoted(value)}")


def _readable(argument: str, texts: Collection[str], sweeps: bool) -> str:
    match, override = _SETTING.fullmatch(argument), parsed(argument)
    if match is None:
        if override is None or not override.key_or_group:
            raise LabError(f"cannot read {argument}: {FORMS}")
        return argument
    sign, key, value = match.groups()
    if override is not None and (key not in texts or _is_text(override, sweeps)):
        return argument
    if override is None and (value[:1] in ("'", '"') if key in texts else _STRUCTURE.search(value)):
        raise LabError(
            f"cannot read {argument}: as text it is typed {as_text(sign + key, value)}; in a shell, a list has quotes, "
            f"too: '{key}=[1,2]'"
        )
    return f"{sign}{key}={quoted(value)}"


def _values(override: Override) -> list[Any]:
    """Return the values of an override: several of a choice, else one; none of a range or an interval."""
    from hydra.core.override_parser.types import ChoiceSweep

    value = override.value()
    if isinstance(value, ChoiceSweep):
        return list(value.list)
    return [] if override.is_sweep_override() else [value]


def _names_options(value: Any) -> bool:
    from hydra.core.override_parser.types import QuotedString

    name = str | QuotedString
    return isinstance(value, name) or (isinstance(value, list) and all(isinstance(v, name) for v in value))


def _is_of_a_job(override: Override) -> bool:
    """Return whether an override sets a key below a group, and not one of Hydra's own, to one value."""
    group, dot, _ = override.key_or_group.partition(".")
    return bool(dot) and group != "hydra" and not override.is_sweep_override()


def _config_dir(key: str, where: str) -> Path:
    kind, _, rest = where.rpartition("://")
    try:
        package = importlib.util.find_spec(rest) if kind == "pkg" else None
    except (ImportError, ValueError):
        package = None
    places = [rest] if kind in ("", "file") else package.submodule_search_locations or [] if package else []
    if not (places and Path(places[0]).is_dir()):
        raise LabError(f"{key}={where}: there is no such folder of config files (a folder, file://… or pkg://…)")
    return Path(places[0])


def _is_text(override: Override, sweeps: bool) -> bool:
    if override.is_sweep_override():
        return sweeps
    return override.value() is None or isinstance(override.value(), str)
