"""Text as sequences of tokens, cut from one long stream."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from diffusion_lab.data.base import DataModule, Split
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.vocabulary import Tokens, Vocabulary, vocabulary_of


class TextDataModule(DataModule):
    """A text, the last part of which is held out: a batch holds sequences of tokens, [b, L] int64.

    The held-out parts are cut into sequences of L tokens, one after another; fewer than L tokens at the end of a part
    are left out. So is the text to train on, where each sequence moves on by a random part of its length in each epoch:
    every stretch of L tokens is equally likely, but for the ends of the text.

    Args:
        length: L, the number of tokens of a sequence.
        tokens: what a token is: ``characters``, ``bytes`` or ``words``.
        vocabulary: the tokens, found in the text where None: a string of all characters, or a list of words.
        max_words: the most words of a vocabulary that is found.
        validation: the share of the text, before what is for tests, to validate with, from 0 to 1; or ``test`` to train
            on all of it and validate on the test part.
        test: the share of the text at its end to test on.
        crops: whether sequences to train on move at random.
        batch_size, limit_train, seed: as in `DataModule`.

    Raises:
        ValueError: naming the key that is out of its range.
    """

    item = "sequence"
    name: str

    def __init__(
        self,
        length: int = 256,
        tokens: Tokens = "characters",
        vocabulary: str | list[str] | None = None,
        max_words: int = 10_000,
        validation: float | Literal["test"] = 0.05,
        test: float = 0.1,
        crops: bool = True,
        batch_size: int = 32,
        limit_train: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, limit_train, seed)
        if length < 1:
            raise ValueError(f"data.length must be at least 1, got {length}")
        if max_words < 2:
            raise ValueError(f"data.max_words must be at least 2, got {max_words}")
        if not 0 < test < 1:
            raise ValueError(f"data.test must be a share between 0 and 1, got {test}")
        if validation != "test" and not 0 < validation < 1 - test:
            raise ValueError(
                f"data.validation must be the word test, or a share above 0 and below 1 - data.test, got {validation}"
            )
        self.length = length
        self.tokens: Tokens = tokens
        self.validation = validation
        self.test_share = test
        self.crops = crops
        self.vocabulary: Vocabulary = vocabulary_of(
            tokens, vocabulary, "" if vocabulary is not None or tokens == "bytes" else self.read(), max_words
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @abstractmethod
    def read(self) -> str:
        """Return the whole text.

        Raises:
            LabError: naming the file that cannot be read.
        """

    def provides(self) -> dict[str, Any]:
        return {"vocab_size": self.vocabulary.size, "vocabulary": self.vocabulary, "length": self.length}

    def found(self) -> dict[str, Any]:
        entries = self.vocabulary.entries()
        return {} if entries is None else {"vocabulary": entries}

    def load(self) -> tuple[Split, Split, Split]:
        try:
            ids = self.vocabulary.encode(self.read())
        except ValueError as error:
            raise LabError(f"data={self.name}: {error}") from error
        ids = ids.to(torch.uint8 if self.vocabulary.size <= 256 else torch.int32)
        for_tests = round(self.test_share * len(ids))
        for_val = 0 if self.validation == "test" else round(float(self.validation) * len(ids))
        parts = ids.split([len(ids) - for_val - for_tests, for_val, for_tests])
        train = self._overlapping(parts[0]) if self.crops else self._packed(parts[0], "to train on")
        test = self._packed(parts[2], "to test on")
        val = test if self.validation == "test" else self._packed(parts[1], "to validate with")
        return train, val, test

    def to_batch(self, stored: Tensor) -> Tensor:
        """Return the first L tokens of each stored sequence, [n, L] int64."""
        return stored[:, : self.length].long()

    def augment(self, stored: Tensor, noise: Noise) -> Tensor:
        """Return L of the 2 L − 1 tokens [n, 2 L − 1] of each sequence, from a random one on."""
        if not self.crops:
            return stored
        start = (noise.at("crop").uniform() * self.length).long()  # [n]
        return stored.gather(1, start[:, None] + torch.arange(self.length, device=stored.device))

    def fingerprint(self) -> dict[str, str]:
        """Return a short hash of each split's tokens and of the vocabulary."""
        entries = repr(self.vocabulary.entries())
        return {
            split: hashlib.blake2b(f"{tokens} {entries}".encode(), digest_size=16).hexdigest()
            for split, tokens in super().fingerprint().items()
        }

    def _packed(self, ids: Tensor, use: str) -> Split:
        count = len(ids) // self.length
        if not count:
            raise LabError(
                f"data.length={self.length}: {self.name} has {len(ids):,} tokens {use}; take a smaller length"
            )
        return Split(ids[: count * self.length].view(count, self.length))

    def _overlapping(self, ids: Tensor) -> Split:
        """Return sequences of 2 L − 1 tokens that start L apart; they share memory."""
        size = 2 * self.length - 1
        if len(ids) < size:
            raise LabError(
                f"data.length={self.length}: {self.name} has {len(ids):,} tokens to train on, and two sequences have "
                "more; take a smaller length"
            )
        return Split(ids.unfold(0, size, self.length))
