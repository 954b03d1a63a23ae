"""The recorded config of a run, `config.yaml`, as YAML that is read as data: without interpolation, objects or aliases.

A run folder may come from anyone. What its config names as targets is checked by `run_folder.trust`.

A long list, such as the words of a vocabulary, lies in a JSON file beside `config.yaml` that is called by its key:
``{_file_: data.vocabulary.json}`` stands for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from diffusion_lab.errors import LabError
from diffusion_lab.machine.bounded_read import is_long_number, read_json, read_yaml
from diffusion_lab.run_folder.layout import layout_version, upgraded

_MOST_KEYS = 10_000

#: The most values of a list that lies in `config.yaml` itself, and what stands there for one that does not.
_SHORT_LIST, _FILE = 256, "_file_"

#: The keys of which a file may be called.
_KEY = re.compile(r"\w+(\.\w+)*")

#: Texts that YAML 1.1 or 1.2 takes for true or false where they are not quoted.
_BOOLEANS = frozenset({"y", "yes", "n", "no", "true", "false", "on", "off"})

#: Line breaks of YAML 1.1 that become spaces where they are not written as escapes, in double quotes.
_FOLDED = frozenset("\x85\u2028\u2029")


def as_yaml(node: Any) -> str:
    """Return a plain container as YAML text that every YAML reader takes for the same values."""
    return yaml.dump(node, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)


def read_recorded_config(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the run in `folder`, upgraded to the present layout.

    Args:
        folder: has a `config.yaml`.
        manifest: the content of its `manifest.json`, empty where there is none.

    Raises:
        LabError: naming the file, if it is damaged, or if a newer version of this project has written it.
    """
    version = layout_version(folder, manifest)
    path = folder / "config.yaml"
    try:
        config = read_yaml(path)
        if not isinstance(config, dict):
            raise ValueError("it holds no mapping")
        for count, (key, value) in enumerate(_values(config), 1):
            if count > _MOST_KEYS:
                raise ValueError(f"it has more than {_MOST_KEYS:,} keys")
            if isinstance(value, str) and "${" in value:
                raise ValueError(f"{key} is {value!r}, and an interpolation in a recorded config is not resolved")
        config = _with_long_lists(folder, config)
        # An empty text, which earlier versions took, stood for none.
        named = {key: None for key in ("resume", "init_from") if config.get(key) == ""}
        return upgraded(config | named, version)
    except (ValueError, RecursionError) as error:
        raise LabError(f"{path} is damaged: {error}") from error


def without_long_lists(node: Mapping[str, Any], key: str = "") -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return a config in which names of files stand for its long lists, and these lists by dotted key."""
    short: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    for name, value in node.items():
        below = f"{key}.{name}" if key else str(name)
        if isinstance(value, Mapping):
            short[name], found = without_long_lists(value, below)
            lists |= found
        elif _is_list_of_values(value) and len(value) > _SHORT_LIST and _KEY.fullmatch(below):
            short[name] = {_FILE: f"{below}.json"}
            lists[below] = value
        else:
            short[name] = value
    return short, lists


def _with_long_lists(folder: Path, node: Any, key: str = "") -> Any:
    """Return a config with the lists that lie in files beside it."""
    if not isinstance(node, dict):
        return node
    if _FILE not in node:
        return {
            name: _with_long_lists(folder, value, f"{key}.{name}" if key else str(name)) for name, value in node.items()
        }
    if node != {_FILE: f"{key}.json"} or not _KEY.fullmatch(key):
        raise ValueError(f"{key} is {str(node)[:100]!r}, and a file for it would be {key}.json")
    values = read_json(folder / f"{key}.json").get(key)
    if not _is_list_of_values(values):
        path = folder / f"{key}.json"
        raise LabError(f"{path} is missing or damaged: it must hold {key}, a list of texts or numbers")
    return values


def _is_list_of_values(values: Any) -> TypeGuard[list[Any]]:
    """Return whether something is a list of texts and numbers, none of which could be an interpolation."""
    return isinstance(values, list) and all(
        isinstance(value, str | int | float) and "${" not in str(value) for value in values
    )


def _values(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value that is no container, with its dotted key."""
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for name, value in items:
            yield from _values(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True  # they are refused when the config is read


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "'" if text.lower() in _BOOLEANS or _is_number(text) or is_long_number(text) else None
    if not _FOLDED.isdisjoint(text):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_Dumper.add_representer(str, _represent_text)
