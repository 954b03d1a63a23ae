"""The seam between data and the space that is diffused, and between data and what people look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from diffusion_lab.distributions import Distribution
from diffusion_lab.machine.atomic_write import write_array

if TYPE_CHECKING:
    from diffusion_lab.figures import Sheet, Shown

#: (number of an item, which of its codes to destroy [R, *D'] bool) → (states [R, *D'], likeliest codes [R, *D']).
Reconstruct = Callable[[int, Tensor], tuple[Tensor, Tensor]]


class Codec(nn.Module, ABC):
    """Data x ↔ codes z0, the space that is diffused. It may own parameters, which are then trained with the network.

    Attributes:
        value_range: (low, high) that clean codes lie in; None if they have no range, or are categories.
        levels: how many values, evenly spaced over the range, each code of data has to choose from; None if the data
            is not of that kind.
    """

    value_range: tuple[float, float] | None = None
    levels: int | None = None

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Return the codes z0 [B, *D'] of data x [B, *D]."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Return data [B, *D] in its own dtype for codes z [B, *D']; codes that stand for no data are brought near.

        Of codes that `encode` returns, that is the data they were made of.
        """

    @abstractmethod
    def log_likelihood(self, x: Tensor, z0: Distribution) -> Tensor:
        """Return log p(x | z0) [B] in nats, summed over the dimensions of each sample, for z0 distributed as given."""

    @abstractmethod
    def show(self, sheet: Sheet) -> Shown | Sequence[Shown]:
        """Return a picture of the data in `sheet`, or text where that is what people read; or several forms of it."""

    @property
    def spread(self) -> float:
        """The standard deviation of codes in training around what `encode` returns; 0 where they are that."""
        return 0.0

    def code_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the codes of one sample of data of this shape."""
        return tuple(shape)

    def provides(self) -> dict[str, Any]:
        """Return what constructors of later parts may ask for by name, such as a number of channels."""
        return {}

    def with_blanks(self, text: str, blank: str | None) -> tuple[Tensor, Tensor]:
        """Return the data [n] of a text that is typed, and which positions are given, [n] bool.

        Args:
            text: without blanks in the vocabulary.
            blank: a sign that stands for one position that is not given; None for none.

        Raises:
            ValueError: if the data is no text, or a part of the text has no token.
        """
        raise ValueError(f"it is for runs on text, and this run has codec={type(self).__name__}")

    def characters(self, x: Tensor) -> Tensor | None:
        """Return the number of characters [B] int64 of the text that data [B, *D] stands for; None if it is no text."""
        return None

    def save(self, samples: Tensor, path: Path) -> list[Path]:
        """Write samples [N, *D], in their own dtype, to the NumPy file `path`; return the files that were written.

        Raises:
            LabError: if the file cannot be written; one that was there before is intact then.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        write_array(path, samples.numpy())
        return [path]

    def demonstrate(self, items: Tensor, reconstruct: Reconstruct, caption: str) -> Sequence[Shown]:
        """Return what shows how this kind of data is destroyed, and what a network makes of it; nothing by default.

        Args:
            items: [N, *D] real data to choose from.
            reconstruct: destroys chosen codes of one of them, and predicts them.
            caption: which run it is.
        """
        return []

    def animate(self, states: Sequence[Tensor], path: Path) -> Path | None:
        """Write decoded states [N, *D] as an animation to `path`; None where there is nothing that could move."""
        return None
