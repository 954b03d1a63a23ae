"""A model that another program has trained, in the words of this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diffusion_lab.errors import LabError

#: Keys of a network that decide on nothing of what it computes when it is drawn from.
_OF_TRAINING = ("dropout", "condition_dropout")


@dataclass(frozen=True)
class ForeignModel:
    """What a foreign model is here.

    Attributes:
        kind: the library that has written it.
        shape: [C, H, W] of its images; None where `config` says it.
        num_classes: how many labels it takes; None for none.
        network: the node of `network` in a config, without the keys that keep their defaults.
        choices: what else belongs to the weights: options by group, and values by dotted key.
        weights_of: from the network, built here, to the weights of its run's module by name.
        config: that of its run; None where `choices` have to do.
    """

    kind: str
    shape: tuple[int, int, int] | None
    num_classes: int | None
    network: Mapping[str, Any]
    choices: Mapping[str, Any]
    weights_of: Callable[[Any], dict[str, Tensor]]
    config: Mapping[str, Any] | None = None

    @property
    def options(self) -> list[str]:
        """The overrides that choose the options of groups; none of their words comes from the model's files."""
        if self.config is not None:
            return []
        chosen = {"data": "unknown_images", "network": "unet", **self.choices}
        return [f"{group}={option}" for group, option in chosen.items() if "." not in group]

    def node(self, composed: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config of the model's run.

        Args:
            composed: with `options`, as a plain container.
        """
        if self.config is not None:
            return {**composed, **self.config}
        assert self.shape is not None
        data = {"channels": self.shape[0], "image_size": self.shape[-1], "num_classes": self.num_classes}
        node = {**composed, "data": {**composed["data"], **data}, "network": {**composed["network"], **self.network}}
        for key, value in self.choices.items():
            if "." in key:
                node = _with(node, key.split("."), value)
        return node

    def check_network(self, node: Mapping[str, Any]) -> None:
        """Check that a config's network is that of the model; its dropout, which is of training, may be another.

        Raises:
            LabError: naming the first key that differs, and the value that is needed.
        """
        for key, value in self.network.items():
            there = node.get(key)
            if key in _OF_TRAINING:
                continue
            if key == "attention_sizes" and there and self.shape is not None:  # sizes that no level has change nothing
                there = [size for size in there if size in value or self._has_level(size)]
            if key not in node or (list(there) if isinstance(value, list) and there else there) != value:
                name = "network" if key == "_target_" else f"network.{key}"
                raise LabError(f"init_from: the model has {name}={_typed(value)}, and this run {_typed(there)}")

    def _has_level(self, size: int) -> bool:
        assert self.shape is not None
        return size in (self.shape[-1] // 2**level for level in range(len(self.network["channel_multipliers"])))


def _with(node: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Return nested mappings with another value at a path."""
    name, *below = path
    return {**node, name: _with(node.get(name, {}), below, value) if below else value}


def _typed(value: Any) -> str:
    """Return a value as it is typed behind ``key=``."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
