"""JSON Schemas of the config files, made from the constructors that they name: editors complete keys by them.

They are drafts of 2020-12, and follow from annotations, signatures and docstrings as the checks of a run do; see
`diffusion_lab.config.annotations`. What depends on other parts of a config is left to those checks.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import pytorch_lightning as pl
import yaml

from diffusion_lab.config.annotations import type_hints
from diffusion_lab.config.reader_schema import CompareConfig, CompareDrawsConfig, RecipesConfig, RunsConfig
from diffusion_lab.config.schema import Part, Paths, Search
from diffusion_lab.config.settings import SCHEMAS
from diffusion_lab.config.targets import located
from diffusion_lab.config.tree import config_dirs, option_file, options
from diffusion_lab.errors import LabError

Schema = dict[str, Any]

#: Groups whose options are nodes by name, and not one node.
_OF_NODES = ("callbacks", "logger", "evaluation")

#: Groups whose options set keys of the whole config.
_WHOLE = ("experiment", "debug")

ON_PATHS = {
    "compare": CompareConfig,
    "compare_draws": CompareDrawsConfig,
    "recipes": RecipesConfig,
    "runs": RunsConfig,
}
_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", type(None): "null"}
#: What stands for a value: one from elsewhere, or one that has to be given.
_PLACEHOLDER = {"type": "string", "pattern": r"\$\{.*\}|^\?\?\?$"}
_UNKNOWN_NODE = {"anyOf": [{"type": "null"}, {"type": "object", "required": ["_target_"]}]}


def schemas() -> dict[str, Schema]:
    """Return the schema of each kind of file, by the glob pattern of its place in a folder of config files.

    The user's own folders of `config_dirs` are known, too: their options, and the classes that they name, if these
    are trusted.

    Raises:
        LabError: naming an option that cannot be read, or whose class cannot be called.
    """
    groups = {group: _group(group) for group in _groups() if group not in _WHOLE}
    whole = _of_file(SCHEMAS["train"], groups)
    found = {f"{group}/*.yaml": schema for group, schema in groups.items()}
    found |= {f"{group}/*.yaml": whole for group in _WHOLE}
    found |= {f"{name}.yaml": _of_file(schema, groups) for name, schema in {**SCHEMAS, **ON_PATHS}.items()}
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {place: draft | schema | {"type": ["object", "null"]} for place, schema in sorted(found.items())}


def _groups() -> list[str]:
    return sorted({file.parent.name for folder in config_dirs() for file in folder.glob("*/*.yaml")})


def _group(group: str) -> Schema:
    """The schema of what a group holds, in a file of its own or in an experiment."""
    if group in ("paths", "search"):
        return _with_defaults(_of_dataclass({"paths": Paths, "search": Search}[group], {}), [group])
    contents = [_content(group, option) for option in options(group)]
    if group == "trainer":
        return _with_defaults(_of_arguments(pl.Trainer), [group])
    if group not in _OF_NODES:
        return _with_defaults(_of_node(group, contents), [group])
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for content in contents:
        for name, node in content.items():
            if isinstance(node, Mapping):
                by_name.setdefault(name, []).append(node)
    nodes = {name: _or_null(_of_node(f"{group}.{name}", nodes)) for name, nodes in by_name.items()}
    return _with_defaults({"properties": nodes, "additionalProperties": _UNKNOWN_NODE}, [group])


def _content(group: str, option: str) -> Mapping[str, Any]:
    file = option_file(group, option)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise LabError(f"cannot read {file}: {' '.join(str(error).split())}") from error
    return content if isinstance(content, Mapping) else {}


def _of_node(key: str, nodes: Iterable[Mapping[str, Any]]) -> Schema:
    """The schema of a node that names one of the targets of `nodes`, or sets arguments of any of them."""
    targets = {node["_target_"] for node in nodes if isinstance(node.get("_target_"), str)}
    if not targets:  # a group of the user's own, which sets keys elsewhere
        return {"properties": {}}
    known = {target: _of_arguments(located(key, target)) for target in sorted(targets)}
    merged: dict[str, list[Schema]] = {}
    for schema in known.values():
        for name, of_argument in schema["properties"].items():
            merged.setdefault(name, [])
            merged[name] += [of_argument] if of_argument not in merged[name] else []
    anything = any(schema["additionalProperties"] for schema in known.values())
    special: Schema = {"_partial_": {"type": "boolean"}}
    by_target = [
        {
            "if": {"properties": {"_target_": {"const": target}}},
            "then": {
                "properties": {"_target_": {"description": schema["description"]}, **special, **schema["properties"]},
                "additionalProperties": schema["additionalProperties"],
            },
        }
        for target, schema in known.items()
    ]
    foreign = {"type": "string", "not": {"pattern": r"^diffusion_lab\."}}
    return {
        "if": {"required": ["_target_"]},
        "then": {"properties": {"_target_": {"anyOf": [{"enum": [*known]}, foreign]}}, "allOf": by_target},
        "else": {
            "properties": {name: found[0] if len(found) == 1 else {"anyOf": found} for name, found in merged.items()},
            "additionalProperties": anything,
        },
    }


def _of_arguments(target: Callable[..., Any]) -> Schema:
    """The schema of the arguments of a class or function."""
    hints, texts = type_hints(target), argument_texts(target)
    properties, anything = {}, False
    for name, parameter in inspect.signature(target).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            anything = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            properties[name] = of_hint(hints.get(name, Any))
            if name in texts:
                properties[name] = properties[name] | {"description": texts[name]}
            if _is_plain(parameter.default):
                properties[name] = properties[name] | {"default": parameter.default}
    first = (inspect.getdoc(target) or "").split("\n\n")[0]
    return {
        "properties": properties,
        "additionalProperties": anything,
        "description": " ".join(first.split()),
    }


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | str | types.NoneType) or (isinstance(value, float) and math.isfinite(value))


def argument_texts(target: Callable[..., Any]) -> dict[str, str]:
    """Return what a docstring says of each argument."""
    described = next(
        (text for one in (target, getattr(target, "__init__", None)) if "\nArgs:\n" in (text := _doc(one))), ""
    )
    lines = described.partition("\nArgs:\n")[2].splitlines()
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        if match := re.match(r" {4}(\w+(?:, \w+)*): (.*)", line):
            names = match[1].split(", ")
            found |= dict.fromkeys(names, match[2])
        elif line.startswith(" " * 8) and names:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        elif line:
            break
    return found


def _doc(target: Any) -> str:
    return inspect.getdoc(target) or ""


def _of_file(schema: type[Any], groups: Mapping[str, Schema]) -> Schema:
    """The schema of a file that sets keys of a whole config, and may set Hydra's own."""
    found = _of_dataclass(schema, groups)
    found["properties"]["hydra"] = {"type": "object"}
    return _with_defaults(found, _groups())


def _of_dataclass(schema: type[Any], groups: Mapping[str, Schema]) -> Schema:
    """The schema of a dataclass of settings; its parts are those of `groups`."""
    properties: dict[str, Schema] = {}
    for name, hint in type_hints(schema).items():
        if name == "return":
            continue
        if name in groups and hint in (Part, Part | None):
            properties[name] = _or_null(groups[name])
        elif dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            properties[name] = {"type": "object"} | _of_dataclass(hint, groups)
        else:
            properties[name] = of_hint(hint)
    return {"properties": properties, "additionalProperties": False}


def _with_defaults(schema: Schema, groups: Sequence[str]) -> Schema:
    """A schema, and beside it the list of the options that a file builds on."""
    chosen: dict[str, Schema] = {}
    for group in groups:
        one = {"enum": [*options(group), None]}
        either = {"anyOf": [one, {"type": "array", "items": one}]}
        chosen |= dict.fromkeys((group, f"/{group}", f"override {group}", f"override /{group}"), either)
    item = {
        "type": ["string", "object"],
        "properties": chosen,
        "patternProperties": {
            r"hydra/": {},
            rf"^(override )?/?({'|'.join(_groups())})@[\w.]+$": {"type": ["string", "null"]},
        },
        "additionalProperties": False,
    }
    defaults = {"type": "array", "items": item}
    if "if" not in schema:
        return schema | {"properties": {"defaults": defaults, **schema["properties"]}}
    listed = {"properties": {"defaults": defaults, **schema["else"]["properties"]}}
    for one in schema["then"]["allOf"]:
        one["then"]["properties"]["defaults"] = defaults
    return schema | {"else": schema["else"] | listed}


def _or_null(schema: Schema) -> Schema:
    return {"type": ["object", "null"]} | schema


def of_hint(hint: Any) -> Schema:
    """Return the schema of the plain values that fit an annotation, and of interpolations such as ``${seed}``."""
    plain = _plain(hint)
    if not plain or (plain.get("type") == "string" and "enum" not in plain):
        return plain
    return {"anyOf": [*plain.get("anyOf", [plain]), _PLACEHOLDER]}


def _plain(hint: Any) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        parts = [_plain(argument) for argument in arguments]
        return {"anyOf": parts} if all(parts) else {}
    if origin is Literal:
        return {"enum": list(arguments)}
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    if hint is None:
        return {"type": "null"}
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return {"type": "object"}
    if origin is tuple and arguments[1:] != (...,):
        items = [of_hint(argument) for argument in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin in (list, tuple) or (inspect.isclass(origin) and issubclass(Sequence, origin)):
        return {"type": "array", "items": of_hint(arguments[0])}
    return {}


def text_of(schema: Schema) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False) + "\n"
