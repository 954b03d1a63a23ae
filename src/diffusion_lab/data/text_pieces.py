"""A text that comes in pieces, which together may be larger than the memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

#: How many characters are read at a time.
_PIECE = 2**16


@dataclass(frozen=True)
class TextSize:
    """The size and hash of a text that was read once.

    Attributes:
        characters: how many there are.
        hash: of its UTF-8 bytes.
    """

    characters: int
    hash: str


def pieces_of(file: TextIO) -> Iterator[str]:
    """Yield the content of a text file."""
    while piece := file.read(_PIECE):
        yield piece


def measure(pieces: Iterable[str]) -> TextSize:
    """Read a text and return its size and hash."""
    characters, digest = 0, hashlib.blake2b(digest_size=16)
    for piece in pieces:
        characters += len(piece)
        digest.update(piece.encode(errors="surrogatepass"))
    return TextSize(characters, digest.hexdigest())


def between(pieces: Iterable[str], start: int, stop: int) -> Iterator[str]:
    """Yield the part of a text from the character number `start` to the one before number `stop`."""
    passed = 0
    for piece in pieces:
        if part := piece[max(0, start - passed) : max(0, stop - passed)]:
            yield part
        passed += len(piece)
        if passed >= stop:
            return
