"""Check values from YAML against type annotations, and describe annotations in words.

A constructor's annotations are the schema of its config node: a new constructor needs no schema of its own.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "null"}
_PLURALS = {int: "integers", float: "numbers", bool: "true or false", str: "texts"}


def type_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of `target`'s arguments; an empty dict if one of them cannot be evaluated."""
    constructor = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(constructor)
    except (NameError, TypeError):  # a name that only type checkers import, or a C function
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value, or an object that was built, has the type `hint`.

    As strict as YAML allows: neither ``true`` nor ``2.0`` is an integer, but an integer is a number, and a list
    counts as a tuple, which YAML cannot write. NaN is no number.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (Any, inspect.Parameter.empty, object) or isinstance(hint, typing.TypeVar | str):
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, choice) for choice in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is not None:
        return _fits_container(value, origin, arguments)
    if hint is None:
        return value is None
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool) and value == value  # NaN is not
    return isinstance(value, hint)


def _fits_container(value: Any, origin: Any, arguments: tuple[Any, ...]) -> bool:
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if origin is tuple and isinstance(value, list | tuple) and arguments[1:] != (...,):
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if origin in (list, tuple) or (inspect.isclass(origin) and issubclass(Sequence, origin)):
        return isinstance(value, list | tuple) and all(fits(item, arguments[0]) for item in value)
    return callable(value) if origin is Callable else True


def text_keys(schema: type[Any], prefix: str = "") -> set[str]:
    """Return the dotted keys of a dataclass, and of those in it, whose values are texts, or texts or null."""
    found = set()
    for name, hint in type_hints(schema).items():
        if dataclasses.is_dataclass(hint):
            found |= text_keys(hint, f"{prefix}{name}.")  # type: ignore[arg-type]
        elif hint is str or set(get_args(hint)) == {str, type(None)}:
            found.add(prefix + name)
    return found


def describe(hint: Any) -> str:
    """Describe the values that `hint` accepts, in the words of somebody who writes YAML."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        # Types that YAML cannot write are left out where there are others.
        plain = [c for c in arguments if c in _WORDS or get_origin(c) not in (None, Literal)] or list(arguments)
        if float in plain and int in plain:
            plain.remove(int)
        parts = [f"one of {', '.join(choices(hint))}"] if choices(hint) else []
        parts += map(describe, sorted(plain, key=lambda c: c is type(None)))
        return " or ".join(dict.fromkeys(parts))
    if origin is Literal:
        return f"one of {', '.join(choices(hint))}"
    if origin is tuple and arguments[1:] != (...,):
        return f"a list of {len(arguments)}: {', '.join(map(describe, arguments))}"
    if origin is not None and inspect.isclass(origin) and issubclass(origin, Mapping):
        return "a mapping"
    if origin in (list, tuple) or (inspect.isclass(origin) and issubclass(Sequence, origin)):
        return f"a list of {_PLURALS.get(arguments[0], describe(arguments[0]))}"
    if origin is Callable:
        return "a node with a _target_"
    name = getattr(hint, "__name__", str(hint))
    return _WORDS.get(hint, f"{'an' if name[0] in 'AEIOU' else 'a'} {name}")


def choices(hint: Any) -> list[str]:
    """Return the words that `hint` lists as literals, among which a misspelled one is looked for."""
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    if get_origin(hint) in (Union, types.UnionType):
        return list(dict.fromkeys(word for choice in get_args(hint) for word in choices(choice)))
    return []
