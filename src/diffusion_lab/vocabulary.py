"""Vocabularies: text to token ids, and back."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Tokens = Literal["characters", "bytes", "words"]

#: What stands in a text for a token that is no token, such as a mask.
BLANK = "█"

#: The word that stands for all words that are not in a vocabulary.
UNKNOWN = "<unk>"

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


class Vocabulary(ABC):
    """Token ids 0, …, size − 1, and the text that each stands for.

    Attributes:
        size: how many tokens there are.
    """

    size: int

    @abstractmethod
    def encode(self, text: str) -> Tensor:
        """Return the ids [N] int64 of a text.

        Raises:
            ValueError: if a part of the text has no token.
        """

    @abstractmethod
    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ids; an id that is no token is shown as `BLANK`."""

    @abstractmethod
    def entries(self) -> str | list[str] | None:
        """Return what `vocabulary_of` needs to make it again; None for nothing."""


class Characters(Vocabulary):
    """A token for each character.

    Args:
        characters: all of them, in the order of their ids.
    """

    def __init__(self, characters: str) -> None:
        if len(set(characters)) != len(characters) or not characters:
            raise ValueError("data.vocabulary must name one or more different characters")
        self.characters = characters
        self.size = len(characters)
        points = np.array([ord(character) for character in characters])
        self._id = np.full(points.max() + 2, -1, dtype=np.int64)
        self._id[points] = np.arange(self.size)

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


class Bytes(Vocabulary):
    """A token for each byte of the text in UTF-8; bytes that are no UTF-8 become U+FFFD in a text."""

    size = 256

    def encode(self, text: str) -> Tensor:
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long() if text else torch.empty(0).long()

    def text(self, ids: Sequence[int]) -> str:
        return b"".join(bytes([i]) if 0 <= i < 256 else BLANK.encode() for i in ids).decode(errors="replace")

    def entries(self) -> None:
        return None


class Words(Vocabulary):
    """A token for each word, space and sign; words that have none become `UNKNOWN`.

    Args:
        words: in the order of their ids; the first one is `UNKNOWN`.
    """

    def __init__(self, words: Sequence[str]) -> None:
        if len(set(words)) != len(words) or not words or words[0] != UNKNOWN:
            raise ValueError(f"data.vocabulary must be a list of different words, of which the first is {UNKNOWN}")
        self.words = list(words)
        self.size = len(words)
        self._id = {word: i for i, word in enumerate(self.words)}

    @classmethod
    def most_frequent(cls, text: str, size: int) -> Words:
        """Return the vocabulary of the most frequent words of a text."""
        counts = Counter(_WORDS.findall(text))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls([UNKNOWN, *[word for word in ranked if word != UNKNOWN][: size - 1]])

    def encode(self, text: str) -> Tensor:
        return torch.tensor([self._id.get(word, 0) for word in _WORDS.findall(text)], dtype=torch.int64)

    def text(self, ids: Sequence[int]) -> str:
        return "".join(self.words[i] if 0 <= i < self.size else BLANK for i in ids)

    def entries(self) -> list[str]:
        return self.words


def vocabulary_of(tokens: Tokens, entries: str | Sequence[str] | None, text: str, size: int) -> Vocabulary:
    """Return the vocabulary of `entries`, or that of a text where there are none.

    Args:
        tokens: what a token is.
        entries: as `Vocabulary.entries` returned them.
        text: looked at if `entries` is None.
        size: the most words.

    Raises:
        ValueError: if the entries are not of that kind.
    """
    if tokens == "bytes":
        return Bytes()
    if tokens == "words":
        if isinstance(entries, str):
            raise ValueError("data.vocabulary must be a list of words for data.tokens=words")
        return Words.most_frequent(text, size) if entries is None else Words(entries)
    if entries is None:
        return Characters("".join(sorted(set(text))))
    return Characters("".join(entries))
