"""The seam between a text and its token ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from torch import Tensor

#: What stands in a text for a token that is no token, such as a mask.
BLANK = "█"


class Vocabulary(ABC):
    """Token ids 0, …, size − 1, and the text that each stands for.

    Attributes:
        size: how many tokens there are.
        usual_size: the most tokens that are found where nobody says how many; None if the text alone decides.
        cuts_text: whether a text is cut into parts, to train on and to hold out, before it becomes tokens, since these
            are learned from the first part alone; else its tokens are.
    """

    size: int
    usual_size: ClassVar[int | None] = None
    cuts_text: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def found_in(cls, pieces: Iterable[str], size: int) -> Vocabulary:
        """Return the vocabulary of a text that comes in pieces, of at most `size` tokens if it has a `usual_size`."""

    @abstractmethod
    def encode(self, text: str) -> Tensor:
        """Return the ids [N] int64 of a text.

        Raises:
            ValueError: if a part of the text has no token.
        """

    @abstractmethod
    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ids; an id that is no token is shown as `BLANK`."""

    def count_characters(self, ids: Sequence[int]) -> int | None:
        """Return the number of characters of the text of ids: consecutive sequences have together those of the whole.

        Where tokens are parts of characters, a character counts for the sequence that has its first byte. None where
        the ids do not say what the text was.
        """
        return len(self.text(ids))

    def counts(self, sequences: Iterable[Sequence[int]]) -> list[int] | None:
        """Return `count_characters` of each of some sequences; None if that of one of them is not known."""
        counts = [self.count_characters(ids) for ids in sequences]
        known = [count for count in counts if count is not None]
        return known if len(known) == len(counts) else None

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        """Return the text of each id by itself; None for an id that is no token."""
        return [self.text([i]) if 0 <= i < self.size else None for i in ids]

    @abstractmethod
    def entries(self) -> str | list[str] | None:
        """Return what the constructor needs to make it again; None for nothing."""
