"""Does a value from YAML fit the annotation of the argument it is meant for? And how is that said in words?

A constructor's annotations are the schema of its config node, so a rival needs no schema of its own.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from diffusion_lab.errors import did_you_mean

_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "null"}
_PLURALS = {int: "integers", float: "numbers", bool: "true or false", str: "texts"}


def type_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of `target`'s arguments; none of those that cannot be evaluated."""
    constructor = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(constructor)
    except (NameError, TypeError):  # a name that is imported for type checkers only, or a C function
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value, or an object that was built, is what `hint` asks for.

    As strict as YAML allows: ``true`` is no integer, ``2.0`` is none either, and an integer is a number. What
    YAML cannot say otherwise passes: a list is a tuple.
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
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return isinstance(value, hint)


def _fits_container(value: Any, origin: Any, arguments: tuple[Any, ...]) -> bool:
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if origin is tuple and isinstance(value, list | tuple) and arguments[1:] != (...,):
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if origin in (list, tuple) or (inspect.isclass(origin) and issubclass(Sequence, origin)):
        return isinstance(value, list | tuple) and all(fits(item, arguments[0]) for item in value)
    return callable(value) if origin is Callable else True


def accepted(hint: Any) -> str:
    """What `hint` asks for, in the words of somebody who writes YAML."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        # What only Python can give is not worth a word where YAML can give something, too.
        plain = [c for c in arguments if c in _WORDS or get_origin(c) not in (None, Literal)] or list(arguments)
        if float in plain and int in plain:
            plain.remove(int)
        parts = [f"one of {', '.join(choices(hint))}"] if choices(hint) else []
        parts += map(accepted, sorted(plain, key=lambda c: c is type(None)))
        return " or ".join(dict.fromkeys(parts))
    if origin is Literal:
        return f"one of {', '.join(choices(hint))}"
    if origin is tuple and arguments[1:] != (...,):
        return f"a list of {len(arguments)}: {', '.join(map(accepted, arguments))}"
    if origin is not None and inspect.isclass(origin) and issubclass(origin, Mapping):
        return "a mapping"
    if origin in (list, tuple) or (inspect.isclass(origin) and issubclass(Sequence, origin)):
        return f"a list of {_PLURALS.get(arguments[0], accepted(arguments[0]))}"
    if origin is Callable:
        return "a node with a _target_"
    name = getattr(hint, "__name__", str(hint))
    return _WORDS.get(hint, f"a {name}")


def choices(hint: Any) -> list[str]:
    """The words that `hint` lists, for guessing which one was meant."""
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    if get_origin(hint) in (Union, types.UnionType):
        return list(dict.fromkeys(word for choice in get_args(hint) for word in choices(choice)))
    return []


def unknown(key: str, names: Collection[str]) -> str:
    """The line for a key that does not exist, with the nearest one that does."""
    guess = did_you_mean(key.rpartition(".")[2], names)
    return f"there is no key {key}{guess or ':'} accepted are {', '.join(names) or 'none'}"
