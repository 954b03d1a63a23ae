"""The recorded config of a run, `config.yaml`, as YAML that is read as data: without interpolation, objects or aliases.

A run folder may come from anyone. What its config names as targets is checked by `run_folder.trust`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from diffusion_lab.errors import LabError
from diffusion_lab.machine.bounded_read import read_yaml
from diffusion_lab.run_folder.layout import layout_version, upgraded

_MOST_KEYS = 10_000

#: Texts that YAML 1.1 or 1.2 takes for true or false where they are not quoted.
_BOOLEANS = frozenset({"y", "yes", "n", "no", "true", "false", "on", "off"})


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
        return upgraded(config, version)
    except (ValueError, RecursionError) as error:
        raise LabError(f"{path} is damaged: {error}") from error


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
    quoted = text.lower() in _BOOLEANS or _is_number(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quoted else None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_Dumper.add_representer(str, _represent_text)
