"""The one place that builds the object that a `_target_` names.

A constructor's arguments come from the YAML node. An argument that the node leaves out, and whose name is that of a
part that already exists (`process`, `image_size`, `seed`, …), gets that part: an alternative that needs other parts
only has to name them. The types of all arguments are checked against the constructor's annotations.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from diffusion_lab.config.annotations import choices, describe, fits, type_hints
from diffusion_lab.config.targets import located
from diffusion_lab.errors import LabError, did_you_mean, unknown_key

#: The largest number of float32 that is finite.
FLOAT32_MAX = 3.4028234663852886e38

_SPECIAL = ("_target_", "_partial_")


def make(node: Any, key: str, parts: Mapping[str, Any], fixed: Collection[str] = ()) -> Any:
    """Build the object that a config node describes.

    Args:
        node: a plain container (from `OmegaConf.to_container`); ``_target_`` in it stands for an object, together
            with ``_partial_: true`` for a function that still lacks arguments.
        key: the node's dotted key in the config, for messages.
        parts: arguments for constructors whose node leaves them out, by name.
        fixed: names in `parts` that a node may not set itself.

    Returns:
        The object, or a container of objects and values where the node is a container.

    Raises:
        LabError: naming the key, if the target does not exist or is not trusted, an argument is unknown, missing or of
            the wrong type, or the constructor raises an error.
    """
    if isinstance(node, Mapping):
        if "_target_" not in node:
            return {name: make(value, f"{key}.{name}", parts, fixed) for name, value in node.items()}
        arguments = {name: value for name, value in node.items() if name not in _SPECIAL}
        target, partial = located(key, node["_target_"]), node.get("_partial_", False)
        return construct(target, arguments, key, parts, fixed, partial)
    if node == "???":
        raise LabError(f"{key} must be given: it has no default")
    if isinstance(node, list):
        return [make(value, f"{key}[{index}]", parts, fixed) for index, value in enumerate(node)]
    return node


def make_one(
    node: Any,
    key: str,
    kind: Any,
    parts: Mapping[str, Any] | None = None,
    fixed: Collection[str] = (),
) -> Any:
    """Build the one object of a node, as `make` does, and check that it is of a kind.

    Raises:
        LabError: as `make`; and naming the target, or that there is none, if the object is of another kind.
    """
    made = make(node, key, parts or {}, fixed)
    if not fits(made, kind):
        target = node.get("_target_", "none") if isinstance(node, Mapping) else "none"
        raise LabError(f"{key}._target_={target}: it must make {describe(kind)}")
    return made


def check_arguments(
    target: Callable[..., Any],
    given: Mapping[str, Any],
    key: str,
    parts: Mapping[str, Any],
    fixed: Collection[str] = (),
    partial: bool = False,
) -> None:
    """Check arguments against the signature and annotations of the class or function that takes them.

    Args:
        target: a class or function.
        given: the arguments of a config node; nodes with a ``_target_`` in it may be built already or not.
        key: the node's dotted key in the config, empty for the whole config.
        parts: arguments that are filled in where they are not given.
        fixed: names in `parts` that may not be given.
        partial: whether arguments may be missing.

    Raises:
        LabError: naming the first key that is unknown, missing or of the wrong type.
    """
    parameters = inspect.signature(target).parameters
    hints = type_hints(target)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    prefix = f"{key}." if key else ""
    for name, value in given.items():
        if name not in parameters:
            if takes_any:
                continue
            raise LabError(unknown_key(f"{prefix}{name}", [p for p in parameters if p not in parts]))
        if name in fixed:
            raise LabError(f"{prefix}{name} follows from the rest of the config: it cannot be given")
        _check_value(value, hints.get(name, Any), f"{prefix}{name}")
    for name, parameter in parameters.items():
        if name in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in parts:
            if not fits(parts[name], hints.get(name, Any)):
                needs, has = describe(hints[name]), type(parts[name]).__name__
                raise LabError(f"{key} needs {needs} as its {name}, but {name} is {has}: they do not fit together")
        elif parameter.default is parameter.empty and not partial:
            kind = f", {describe(hints[name])}" if name in hints else ""
            raise LabError(f"{prefix}{name} is missing: {target.__name__} needs it{kind} (+{prefix}{name}=…)")


def _check_value(value: Any, hint: Any, key: str) -> None:
    if isinstance(value, Mapping) and "_target_" in value:
        return  # checked when it is built
    if value == "???":
        raise LabError(f"{key} must be given: it has no default")
    if isinstance(value, float) and FLOAT32_MAX < abs(value) < math.inf:
        raise LabError(f"{key}={value}: it is infinite in float32, of which {FLOAT32_MAX:.3g} is the largest number")
    if not fits(value, hint):
        shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
        infinite = ["inf", "-inf"] if fits(math.inf, hint) else []  # which YAML writes .inf, and Hydra does not
        guess = did_you_mean(value, [*choices(hint), *infinite])
        raise LabError(f"{key}={shown}: it must be {describe(hint)}{guess}")


def construct(
    target: Callable[..., Any],
    arguments: Mapping[str, Any],
    key: str,
    parts: Mapping[str, Any],
    fixed: Collection[str] = (),
    partial: bool = False,
) -> Any:
    """Call a class or function with the arguments of a config node and with parts; see `make`.

    Args:
        target: a class or function.
        arguments: of the node, in which nodes with a ``_target_`` are built.
        key: the node's dotted key in the config, for messages.
        parts: arguments that are filled in where they are not given.
        fixed: names in `parts` that may not be given.
        partial: whether to return a function that still lacks arguments.

    Raises:
        LabError: naming the key, as `make` does.
    """
    check_arguments(target, arguments, key, parts, fixed, partial)
    made = {name: make(value, f"{key}.{name}", parts, fixed) for name, value in arguments.items()}
    hints = type_hints(target)
    for name, value in arguments.items():
        if isinstance(value, Mapping) and "_target_" in value and not fits(made[name], hints.get(name, Any)):
            raise LabError(f"{key}.{name}._target_={value['_target_']}: it must make {describe(hints[name])}")
    filled = {name: parts[name] for name in inspect.signature(target).parameters if name in parts}
    call = functools.partial(target, **(filled | made))
    return call if partial else checked_call(call, key)


def checked_call(call: Callable[[], Any], key: str) -> Any:
    """Return the result of `call`; any error in it becomes a LabError of one line that names `key`."""
    try:
        return call()
    except LabError:
        raise
    except Exception as error:  # a constructor of any library, which may raise anything
        text = " ".join(str(error).split())
        group = key.split(".")[0]
        names_its_key = f"{group}." in text or text.startswith(f"{group}=")
        raise LabError(text if not key or names_its_key else f"{key}: {text}") from error
