"""The ranges of config keys, read from the checks of the classes that take them.

A constructor refuses a value by ``raise ValueError(f"schedule.steps must be at least 2, got {steps}")``, or by a
function that raises so, such as `at_least(1, "search.workers", self.workers)`. What stands between "must" and "got" is
the range.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

_RANGE = re.compile(r"^(?P<key>[\w.]+) must (?P<range>.+?)(, got .*)?$")


@cache
def ranges_of(target: Callable[..., Any]) -> dict[str, str]:
    """Return the range of each key that a class, or one that it builds on, checks; by the dotted key of its message."""
    found: dict[str, str] = {}
    for kind in inspect.getmro(target) if inspect.isclass(target) else (target,):
        if kind.__module__.startswith("diffusion_lab."):
            for key, text in _of_source(kind):
                found.setdefault(key, text)
    return found


def _of_source(target: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    names = vars(sys.modules[target.__module__])
    yield from _of_node(_parsed(target), names, {})


def _parsed(target: Callable[..., Any]) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(target)))


def _of_node(node: ast.AST, names: Mapping[str, Any], bound: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.For) and (rows := _rows(node)):
        for row in rows:
            for line in node.body:
                yield from _of_node(line, names, {**bound, **row})
        return
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _name(node.exc.func) == "ValueError":
        text = _text(node.exc.args[0], names, bound) if node.exc.args else ""
        if (match := _RANGE.match(text)) and not re.search(r"\{\}|^be given", match["range"]):  # the type says what of
            found = re.sub(r",? \{\w+\}", "", match["range"])  # a number that is known in a run alone
            yield match["key"], found.removeprefix("be ").removeprefix("lie ")
        return
    if isinstance(node, ast.Call) and inspect.isfunction(function := names.get(_name(node.func))):
        given = dict(
            zip(inspect.signature(function).parameters, (_value(one, bound) for one in node.args), strict=False)
        )
        given = {name: value for name, value in given.items() if value is not None}
        if function.__module__.startswith("diffusion_lab.") and given:
            inside = vars(sys.modules[function.__module__])
            yield from (found for found in _raised(_parsed(function), inside, given))
    for child in ast.iter_child_nodes(node):
        yield from _of_node(child, names, bound)


def _raised(node: ast.AST, names: Mapping[str, Any], bound: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a function raises itself, and not what it calls."""
    for child in ast.walk(node):
        if isinstance(child, ast.Raise):
            yield from _of_node(child, names, bound)


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _rows(node: ast.For) -> list[dict[str, Any]]:
    """The values of the variables of a loop over a list that is written out, as far as they are constants."""
    if not isinstance(node.iter, ast.Tuple | ast.List):
        return []
    rows = []
    for item in node.iter.elts:
        pairs = (
            zip(node.target.elts, item.elts, strict=False)
            if isinstance(node.target, ast.Tuple) and isinstance(item, ast.Tuple)
            else [(node.target, item)]
        )
        rows.append({_name(name): value.value for name, value in pairs if isinstance(value, ast.Constant)})
    return rows


def _value(node: ast.AST, bound: Mapping[str, Any]) -> Any:
    """A value that is written out, with the variables of loops in it; None for any other."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.JoinedStr):
        text = _text(node, {}, bound)
        return None if "{" in text else text
    return bound.get(_name(node))


def _text(node: ast.AST, names: Mapping[str, Any], bound: Mapping[str, Any]) -> str:
    """The text of a message; what is known only when it is raised stands in braces, or is left out behind ``=``."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if not isinstance(node, ast.JoinedStr):
        return ""
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        elif isinstance(part, ast.FormattedValue):
            name = _name(part.value)
            value = bound.get(name, names.get(name))
            if isinstance(value, int | float | str):
                spec = _text(part.format_spec, {}, {}) if part.format_spec else ""
                text += format(value, spec)
            elif text.endswith("="):
                text = text[:-1]
            else:
                text += f"{{{name}}}"
    return text
