"""Words as tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from diffusion_lab.vocabulary.base import BLANK, Vocabulary
from diffusion_lab.vocabulary.whole_words import whole_words

#: The word that stands for all words that are not in a vocabulary.
UNKNOWN = "<unk>"

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


class Words(Vocabulary):
    """A token for each word, space and sign; words that have none become `UNKNOWN`.

    Nobody knows what an `UNKNOWN` word was: a text with one has no number of characters.

    Args:
        words: in the order of their ids; the first one is `UNKNOWN`.
    """

    usual_size = 10_000

    def __init__(self, words: str | Sequence[str]) -> None:
        if isinstance(words, str) or len(set(words)) != len(words) or not words or words[0] != UNKNOWN:
            raise ValueError(f"data.vocabulary must be a list of different words, of which the first is {UNKNOWN}")
        self.words = list(words)
        self.size = len(words)
        self._id = {word: i for i, word in enumerate(self.words)}

    @classmethod
    def found_in(cls, pieces: Iterable[str], size: int) -> Words:
        """Return the vocabulary of the most frequent words of a text."""
        counts: Counter[str] = Counter()
        for piece in whole_words(pieces):
            counts.update(_WORDS.findall(piece))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls([UNKNOWN, *[word for word in ranked if word != UNKNOWN][: size - 1]])

    def encode(self, text: str) -> Tensor:
        return torch.tensor([self._id.get(word, 0) for word in _WORDS.findall(text)], dtype=torch.int64)

    def text(self, ids: Sequence[int]) -> str:
        return "".join(self.words[i] if 0 <= i < self.size else BLANK for i in ids)

    def count_characters(self, ids: Sequence[int]) -> int | None:
        return None if 0 in ids else len(self.text(ids))

    def entries(self) -> list[str]:
        return self.words
