"""A model that another program has trained, in the words of this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diffusion_lab.errors import LabError


@dataclass(frozen=True)
class ForeignModel:
    """What a foreign model is here.

    Attributes:
        kind: the library that has written it.
        shape: [C, H, W] of its images; None where `config` says it.
        num_classes: how many labels it takes; None for none.
        network: the node of `network` in a config, without the keys that keep their defaults.
        choices: what else belongs to the weights: options of groups and values of keys, as they are typed.
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

    def overrides(self) -> list[str]:
        """Return the overrides of a training command whose run would have this model."""
        assert self.shape is not None
        channels, size, _ = self.shape
        data: dict[str, Any] = {"data": "unknown_images", "data.channels": channels, "data.image_size": size}
        if self.num_classes is not None:
            data["data.num_classes"] = self.num_classes
        group = self.network["_target_"].rpartition(".")[2].lower()
        network = {f"network.{key}": value for key, value in self.network.items() if key != "_target_"}
        typed = {**data, "network": group, **network, **self.choices}
        return [f"{key}={_typed(value)}" for key, value in typed.items()]

    def check_network(self, node: Mapping[str, Any]) -> None:
        """Check that a config's network is that of the model.

        Raises:
            LabError: naming the first key that differs, and the value that is needed.
        """
        for key, value in self.network.items():
            there = node.get(key)
            if key == "attention_sizes" and there and self.shape is not None:  # others are those of no level
                there = [size for size in there if size in value or self._has_level(size)]
            if key not in node or (list(there) if isinstance(value, list) and there else there) != value:
                name = "network" if key == "_target_" else f"network.{key}"
                raise LabError(f"init_from: the model has {name}={_typed(value)}, and this run {_typed(there)}")

    def _has_level(self, size: int) -> bool:
        assert self.shape is not None
        return size in (self.shape[-1] // 2**level for level in range(len(self.network["channel_multipliers"])))


def _typed(value: Any) -> str:
    """Return a value as it is typed behind ``key=``."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
