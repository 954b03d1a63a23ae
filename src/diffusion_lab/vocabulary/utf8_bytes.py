"""Bytes as tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from diffusion_lab.vocabulary.base import BLANK, Vocabulary


class Bytes(Vocabulary):
    """A token for each byte of the text in UTF-8; bytes that are no UTF-8 become U+FFFD in a text.

    Args:
        entries: nothing, since there is nothing to choose.
    """

    size = 256

    def __init__(self, entries: None = None) -> None:
        if entries is not None:
            raise ValueError("data.vocabulary must be null for data.tokens=bytes")

    @classmethod
    def found_in(cls, pieces: Iterable[str], size: int) -> Bytes:
        return cls()

    def encode(self, text: str) -> Tensor:
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long() if text else torch.empty(0).long()

    def text(self, ids: Sequence[int]) -> str:
        return b"".join(bytes([i]) if 0 <= i < 256 else BLANK.encode() for i in ids).decode(errors="replace")

    def count_characters(self, ids: Sequence[int]) -> int:
        return sum(map(begins_character, ids))

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        """Return the text of each byte; one that is no character by itself is written as `<E2>`."""
        return [shown(bytes([i])) if 0 <= i < 256 else None for i in ids]

    def entries(self) -> None:
        return None


def shown(token: bytes) -> str:
    """Return the text of bytes, each of which beyond ASCII is written as `<E2>` where they are no whole characters."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 128 else f"<{byte:02X}>" for byte in token)


def begins_character(byte: int) -> bool:
    """Return whether a byte of UTF-8 is the first one of a character."""
    return byte & 0xC0 != 0x80
