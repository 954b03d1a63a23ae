"""The memory of a multistep solver: values of earlier steps, each at its place, the newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

#: A place [B], such as a time or a noise level, and a value [B, *D] there.
Placed = tuple[Tensor, Tensor]


def recalled(history: Mapping[str, Tensor]) -> list[Placed]:
    """Return the places and values in a state's history, the newest first."""
    count = sum(name.startswith("place_") for name in history)
    return [(history[f"place_{age}"], history[f"value_{age}"]) for age in range(count)]


def remembered(known: Sequence[Placed]) -> dict[str, Tensor]:
    """Return a history of these places and values, the newest first."""
    places = {f"place_{age}": place for age, (place, _) in enumerate(known)}
    return places | {f"value_{age}": value for age, (_, value) in enumerate(known)}
