"""Typed settings from a composed config. What the scripts call takes these; none of it sees OmegaConf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from diffusion_lab.config.annotations import text_keys, type_hints
from diffusion_lab.config.instantiate import check_arguments, checked_call
from diffusion_lab.config.overrides import FORMS, parsed
from diffusion_lab.config.reader_schema import EvaluateConfig, ExportConfig, SampleConfig
from diffusion_lab.config.schema import (
    Part,
    ReproduceConfig,
    SearchConfig,
    TrainConfig,
    TrainFeaturesConfig,
    VerifyConfig,
)
from diffusion_lab.config.tree import conf_dir, options
from diffusion_lab.errors import LabError

Settings = TypeVar("Settings")

#: The schema of each script's config, by the config's name.
SCHEMAS: dict[str, type[Any]] = {
    "train": TrainConfig,
    "sample": SampleConfig,
    "evaluate": EvaluateConfig,
    "export": ExportConfig,
    "reproduce": ReproduceConfig,
    "verify_resume": VerifyConfig,
    "search": SearchConfig,
    "train_features": TrainFeaturesConfig,
}


def read_settings(schema: type[Settings], config: DictConfig | Mapping[str, Any]) -> Settings:
    """Return the settings that a config holds, checked against their schema.

    Args:
        schema: a dataclass of `config.schema`.
        config: composed by Hydra, and resolved here; or a plain container, which is not interpolated. A part's node
            (`network`, `sampler`, …) stays a plain dict.

    Raises:
        LabError: naming the first key that is misspelled, missing, of the wrong type or out of its range.
    """
    node = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    return _read(schema, node, "")


def with_overrides(node: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of a plain config with ``key=value`` overrides, whose interpolations refer to the result."""
    config = OmegaConf.create(dict(node))
    for text in overrides:
        if (override := parsed(text)) is None:
            raise LabError(f"cannot read {text}: {FORMS}")
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True, force_add=True)
    changed: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return changed


def existing_data_dir(recorded: str) -> str:
    """Return a recorded folder of data if it exists; else the one that is used where none is chosen.

    No folder is made because a run folder, which may come from anyone, names it.
    """
    if Path(recorded).is_dir():
        return recorded
    return str(OmegaConf.load(conf_dir() / "paths" / "default.yaml").data_dir)


def _read(schema: type[Settings], node: Any, key: str) -> Settings:
    """Read the settings below `key`: each field of `schema` is a key of `node`."""
    hints = type_hints(schema)
    for field in fields(schema):  # type: ignore[arg-type]
        if hints[field.name] == Part and node.get(field.name) is None:
            raise LabError(f"{field.name} has no option: choose from {', '.join(options(field.name))}")
    texts = text_keys(schema)
    for name, value in node.items():
        if value == "" and name in texts and name != "notes":
            null = "" if hints[name] is str else "; null stands for none"
            here = "; the working folder is ." if name.endswith("_dir") else ""
            raise LabError(f"{key and key + '.'}{name} is empty{here or null}")
    nested = {name: value for name, value in node.items() if is_dataclass(hints.get(name)) and isinstance(value, dict)}
    built = {name: _read(hints[name], value, name) for name, value in nested.items()}
    values = {**node, **built}
    check_arguments(schema, values, key, {})
    return checked_call(lambda: schema(**values), key)
