"""Characters as tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from diffusion_lab.vocabulary.base import BLANK, Vocabulary


class Characters(Vocabulary):
    """A token for each character.

    Args:
        characters: all of them, in the order of their ids.
    """

    def __init__(self, characters: str | Sequence[str]) -> None:
        characters = "".join(characters)
        if len(set(characters)) != len(characters) or not characters:
            raise ValueError("data.vocabulary must name one or more different characters")
        self.characters = characters
        self.size = len(characters)
        points = np.array([ord(character) for character in characters])
        self._id = np.full(points.max() + 2, -1, dtype=np.int64)
        self._id[points] = np.arange(self.size)

    @classmethod
    def found_in(cls, pieces: Iterable[str], size: int) -> Characters:
        found: set[str] = set()
        for piece in pieces:
            found.update(piece)
        return cls("".join(sorted(found)))

    def encode(self, text: str) -> Tensor:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        ids = self._id[np.minimum(points, len(self._id) - 1)]
        if (unknown := (ids < 0).nonzero()[0]).size:
            raise ValueError(f"the character {text[unknown[0]]!r} is not one of the {self.size} of the vocabulary")
        return torch.from_numpy(ids)

    def text(self, ids: Sequence[int]) -> str:
        return "".join(self.characters[i] if 0 <= i < self.size else BLANK for i in ids)

    def entries(self) -> str:
        return self.characters
