"""The one place that turns a `_target_` into an object.

A constructor's arguments come from the YAML node; those that the node leaves out and that carry the name of a
part which already exists (`process`, `image_size`, `seed`, …) are filled in with that part. A rival that needs
other parts names them, and nothing else changes.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Mapping
from typing import Any

from diffusion_lab.errors import LabError

_SPECIAL = ("_target_", "_partial_")


def make(node: Any, key: str, parts: Mapping[str, Any]) -> Any:
    """Build what a config node describes.

    Args:
        node: a plain container (of `OmegaConf.to_container`), with ``_target_`` where an object is meant and
            ``_partial_: true`` where a constructor that still lacks arguments is.
        key: the node's place in the config, for messages.
        parts: what may be filled in, by the name of the argument.

    Raises:
        LabError: naming the key, if the target does not exist, an argument is unknown or missing, or the
            constructor refuses its arguments.
    """
    if isinstance(node, Mapping):
        if "_target_" not in node:
            return {name: make(value, f"{key}.{name}", parts) for name, value in node.items()}
        return _construct(node, key, parts)
    if node == "???":
        raise LabError(f"{key} must be given: it has no default")
    if isinstance(node, list):
        return [make(value, f"{key}[{index}]", parts) for index, value in enumerate(node)]
    return node


def _construct(node: Mapping[str, Any], key: str, parts: Mapping[str, Any]) -> Any:
    target = _locate(node["_target_"], key)
    parameters = inspect.signature(target).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    arguments = {}
    for name, value in node.items():
        if name in _SPECIAL:
            continue
        if name not in parameters and not takes_any:
            raise LabError(unknown(f"{key}.{name}", name, [p for p in parameters if p not in parts]))
        arguments[name] = make(value, f"{key}.{name}", parts)
    for name in parameters:
        if name not in arguments and name in parts:
            arguments[name] = parts[name]
    if node.get("_partial_"):
        return functools.partial(target, **arguments)
    for name, parameter in parameters.items():
        by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if by_name and parameter.default is parameter.empty and name not in arguments:
            raise LabError(f"{key}.{name} is missing: {node['_target_']} needs it")
    try:
        return target(**arguments)
    except (ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        raise LabError(text if f"{key.split('.')[0]}." in text else f"{key}: {text}") from error


def _locate(path: Any, key: str) -> Any:
    from hydra.utils import get_object

    try:
        return get_object(path)
    except Exception as error:
        raise LabError(f"{key}._target_={path!r}: there is no such class or function") from error


def unknown(key: str, given: str, accepted: list[str]) -> str:
    """The line for a key that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(given, accepted, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return f"there is no key {key}: {guess}accepted are {', '.join(accepted)}"
