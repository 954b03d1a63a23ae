"""Text as sequences of tokens, cut from one long stream."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from diffusion_lab import console
from diffusion_lab.data.base import DataModule, Split
from diffusion_lab.data.text_pieces import TextSize, between, measure
from diffusion_lab.data.token_file import TokenFile, token_dtype
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.vocabulary import KINDS, MOST_TOKENS, Tokens, Vocabulary, whole_words

#: Up to so many characters, ``in_memory: auto`` makes the tokens of a text anew for each run, which takes seconds.
SMALL_TEXT = 2**22


class TextDataModule(DataModule):
    """A text, the last part of which is held out: a batch holds sequences of tokens, [b, L] int64.

    The held-out parts are cut into sequences of L tokens, one after another; fewer than L tokens at the end of a part
    are left out. So is the text to train on, where each sequence moves on by a random part of its length in each epoch:
    every stretch of L tokens is equally likely, but for the ends of the text.

    The tokens of a large text are written to a file in the folder of data once, and read from there as they are needed,
    so that the text may be larger than the memory. Both ways give the same batches, bit for bit.

    Args:
        length: L, the number of tokens of a sequence.
        tokens: what a token is: ``characters``, ``bytes``, ``words`` or ``bpe`` (byte pair encoding).
        vocabulary: the tokens, found in the text where None: a string of all characters, a list of words, or of pairs.
            Byte pairs are learned from the text to train on alone.
        vocab_size: the most words or byte pairs of a vocabulary that is found; None for the usual number.
        validation: the share of the text, before what is for tests, to validate with, from 0 to 1; or ``test`` to
            validate on the test part and train on all the rest. It is a share of the tokens, or with ``bpe`` of the
            characters.
        test: the share of the text at its end to test on.
        crops: whether sequences to train on move at random.
        batch_size, limit_train, seed: as in `DataModule`.
        in_memory: whether tokens are in memory rather than in a file; ``auto``: those of up to `SMALL_TEXT` characters.
        data_dir: the folder of data.

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
        vocab_size: int | None = None,
        validation: float | Literal["test"] = 0.05,
        test: float = 0.1,
        crops: bool = True,
        batch_size: int = 32,
        limit_train: int | None = None,
        seed: int = 0,
        in_memory: Literal["auto"] | bool = "auto",
        data_dir: str = "data",
    ) -> None:
        super().__init__(batch_size, limit_train, seed, in_memory)
        kind = KINDS[tokens]
        if length < 1:
            raise ValueError(f"data.length must be at least 1, got {length}")
        if vocab_size is not None and kind.usual_size is None:
            raise ValueError(f"data.vocab_size must be null for data.tokens={tokens}, got {vocab_size}")
        if vocab_size is not None and not 2 <= vocab_size <= MOST_TOKENS:
            raise ValueError(f"data.vocab_size must be from 2 to {MOST_TOKENS:,}, or null, got {vocab_size}")
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
        self.data_dir = Path(data_dir)
        self.vocabulary: Vocabulary = (
            kind.found_in(self._learned_from(kind), vocab_size or kind.usual_size)
            if vocabulary is None
            else kind(vocabulary)
        )
        if vocab_size is not None and vocab_size < self.vocabulary.size:
            raise ValueError(
                f"data.vocab_size={vocab_size} is less than the {self.vocabulary.size:,} tokens of data.vocabulary"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @abstractmethod
    def pieces(self) -> Iterator[str]:
        """Yield the whole text, in pieces that are small where the text may be large.

        Raises:
            LabError: naming the file that cannot be read.
        """

    def provides(self) -> dict[str, Any]:
        return {"vocab_size": self.vocabulary.size, "vocabulary": self.vocabulary, "length": self.length}

    def found(self) -> dict[str, Any]:
        entries = self.vocabulary.entries()
        return {} if entries is None else {"vocabulary": entries}

    def load(self) -> tuple[Split, Split, Split]:
        ids, counts = self._ids()
        for_train, for_val, for_test = counts if self.vocabulary.cuts_text else self._parts(sum(counts))
        parts = ids.split([for_train, for_val, for_test])
        train = self._overlapping(parts[0]) if self.crops else self._packed(parts[0], "to train on")
        test = self._packed(parts[2], "to test on")
        val = test if self.validation == "test" else self._packed(parts[1], "to validate with")
        return train, val, test

    def to_batch(self, stored: Tensor) -> Tensor:
        """Return the first L tokens of each stored sequence, [n, L] int64."""
        return _unsigned(stored[:, : self.length]).long()

    def augment(self, stored: Tensor, noise: Noise) -> Tensor:
        """Return L of the 2 L − 1 tokens [n, 2 L − 1] of each sequence, from a random one on."""
        if not self.crops:
            return stored
        start = (noise.at("crop").uniform() * self.length).long()  # [n]
        return stored.gather(1, start[:, None] + torch.arange(self.length, device=stored.device))

    def hashed(self, stored: Tensor) -> Tensor:
        return _unsigned(stored)

    def stream(self, name: str) -> Tensor:
        """Return the text of ``train``, ``val`` or ``test``, [M] token ids, without what is left out at its end.

        They are those of the split, and not copied; of two bytes, they are uint16.
        """
        self.setup()
        split: Split = getattr(self, name)
        stored = split.read()
        assert stored.stride() == (self.length, 1)  # sequences start L apart, and may overlap
        count = (len(stored) - 1) * self.length + stored.shape[1]
        ids = stored.as_strided((count,), (1,))
        return ids.view(torch.uint16) if ids.dtype == torch.int16 else ids

    def fingerprint(self) -> dict[str, str]:
        """Return a short hash of each split's tokens and of the vocabulary."""
        entries = repr(self.vocabulary.entries())
        return {
            split: hashlib.blake2b(f"{tokens} {entries}".encode(), digest_size=16).hexdigest()
            for split, tokens in super().fingerprint().items()
        }

    @cached_property
    def _size(self) -> TextSize:
        return measure(self.pieces())

    def _parts(self, count: int) -> list[int]:
        """Return how many of `count` tokens or characters are to train on, to validate with and to test on."""
        for_tests = round(self.test_share * count)
        for_val = 0 if self.validation == "test" else round(float(self.validation) * count)
        return [count - for_val - for_tests, for_val, for_tests]

    def _learned_from(self, kind: type[Vocabulary]) -> Iterator[str]:
        """Yield the text that a vocabulary is found in.

        Raises:
            LabError: if there is none.
        """
        pieces: Iterable[str] = self.pieces()
        if kind.cuts_text:
            count = self._parts(self._size.characters)[0]
            pieces = _shown(between(pieces, 0, count), count, "learning tokens")
        empty = True
        for piece in pieces:
            empty = empty and not piece
            yield piece
        if empty:
            raise LabError(f"data={self.name}: the text is empty")

    def _ids(self) -> tuple[Tensor, list[int]]:
        """Return all token ids, as they are stored, and how many there are of each part of the text that is cut."""
        dtype = token_dtype(self.vocabulary.size)
        parts = self._parts(self._size.characters) if self.vocabulary.cuts_text else [self._size.characters]
        if self.in_memory is True or (self.in_memory == "auto" and self._size.characters <= SMALL_TEXT):
            encoded = [list(self._encoded(start, stop)) for start, stop in _ranges(parts)]
            arrays = [np.concatenate([np.zeros(0, dtype), *part]) for part in encoded]
            ids, counts = np.concatenate(arrays), [len(array) for array in arrays]
        else:
            key = [self._size.hash, self.tokens, self.vocabulary.entries(), parts]
            file = TokenFile(self.data_dir / "tokens", self.name, key, dtype)
            ids, counts = file.read_or_write(self._encoded(start, stop) for start, stop in _ranges(parts))
        return torch.from_numpy(ids), counts

    def _encoded(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the tokens of a part of the text as they are stored, a piece at a time.

        Raises:
            LabError: if a part of the text has no token.
        """
        dtype = token_dtype(self.vocabulary.size)
        for piece in whole_words(_shown(between(self.pieces(), start, stop), stop - start, "tokens")):
            try:
                yield self.vocabulary.encode(piece).numpy().astype(dtype)
            except ValueError as error:
                raise LabError(f"data={self.name}: {error}") from error

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


def _unsigned(stored: Tensor) -> Tensor:
    """Return token ids as uint8 or int32; two bytes hold ids up to 65,535, for which PyTorch has few operations."""
    return stored.int() & 0xFFFF if stored.dtype == torch.int16 else stored


def _ranges(parts: list[int]) -> Iterator[tuple[int, int]]:
    """Yield where each of the parts begins and ends."""
    start = 0
    for size in parts:
        yield start, start + size
        start += size


def _shown(pieces: Iterable[str], characters: int, work: str) -> Iterator[str]:
    """Yield the pieces of a text, and show how far it is read."""
    with tqdm(
        total=characters, desc=work, unit=" characters", unit_scale=True, dynamic_ncols=True, leave=False,
        disable=not console.current().bar,
    ) as bar:  # fmt: skip
        for piece in pieces:
            yield piece
            bar.update(len(piece))
