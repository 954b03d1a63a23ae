"""The keys of a config file, as they stand there: each with its value and the comment beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from diffusion_lab.config.help import leading_comment


@dataclass(frozen=True)
class Key:
    """A key of a config file.

    Attributes:
        path: the names from the top of the file to it.
        value: as it is written; empty for a key that has keys below it.
        comment: what is said beside it, in one line.
        target: the ``_target_`` of the node that it is in; None for a node without one.
    """

    path: tuple[str, ...]
    value: str
    comment: str
    target: str | None


@dataclass(frozen=True)
class ConfigFile:
    """A config file.

    Attributes:
        comment: the lines at its top.
        chosen: the entries of its defaults list: a group, or "" for another file of the same kind, and the option.
        keys: all others, in their order.
    """

    comment: list[str]
    chosen: list[tuple[str, str]]
    keys: list[Key]


def read_config(file: Path) -> ConfigFile:
    """Return what a config file says."""
    text = file.read_text(encoding="utf-8")
    top = yaml.compose(text, yaml.SafeLoader)
    keys = list(_keys(top, text.splitlines(), (), None)) if isinstance(top, yaml.MappingNode) else []
    content = yaml.safe_load(text) or {}
    chosen = [_choice(entry) for entry in content.get("defaults", []) if entry != "_self_"]
    return ConfigFile(leading_comment(text.splitlines()), chosen, keys)


def _choice(entry: str | dict[str, str | None]) -> tuple[str, str]:
    if isinstance(entry, str):
        return "", entry
    ((group, option),) = entry.items()
    return group.removeprefix("override ").removeprefix("/"), "null" if option is None else str(option)


def _keys(node: yaml.MappingNode, lines: list[str], path: tuple[str, ...], target: str | None) -> Iterator[Key]:
    named = {key.value: value for key, value in node.value}
    if "_target_" in named:
        target = named["_target_"].value
    for key, value in node.value:
        if not path and key.value == "defaults":
            continue
        below = isinstance(value, yaml.MappingNode) and not value.flow_style and bool(value.value)
        end = key.end_mark if below else value.end_mark
        written = "" if below else _written(value, lines)
        yield Key((*path, key.value), written, _comment(lines, end.line, end.column, key.start_mark.column), target)
        if below:
            yield from _keys(value, lines, (*path, key.value), None if "_target_" in _names(value) else target)


def _names(node: yaml.MappingNode) -> set[str]:
    return {key.value for key, _ in node.value}


def _written(node: yaml.Node, lines: list[str]) -> str:
    start, end = node.start_mark, node.end_mark
    if start.line == end.line:
        return lines[start.line][start.column : end.column]
    text = [lines[start.line][start.column :], *lines[start.line + 1 : end.line], *lines[end.line : end.line + 1]]
    return " ".join(part.strip() for part in text if part.strip())


def _comment(lines: list[str], line: int, column: int, indent: int) -> str:
    """The comment behind a value, and the lines below that go on with it, further to the right than the key."""
    if line >= len(lines):
        return ""
    match = re.match(r"[^#]*?\s#\s?(.*)$", lines[line][column:])
    if match is None:
        return ""
    found = [match[1]]
    for following in lines[line + 1 :]:
        more = re.match(r"( +)# ?(.*)$", following)
        if more is None or len(more[1]) <= indent:
            break
        found.append(more[2])
    return " ".join(found)
