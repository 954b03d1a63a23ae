"""Vocabularies: text to token ids, and back."""

from typing import Any, Literal

from diffusion_lab.vocabulary.base import BLANK, Vocabulary
from diffusion_lab.vocabulary.byte_pairs import LONGEST_TOKEN, BytePairs
from diffusion_lab.vocabulary.characters import Characters
from diffusion_lab.vocabulary.utf8_bytes import Bytes
from diffusion_lab.vocabulary.whole_words import whole_words
from diffusion_lab.vocabulary.words import UNKNOWN, Words

Tokens = Literal["characters", "bytes", "words", "bpe"]

#: The most tokens of a vocabulary that is found.
MOST_TOKENS = 500_000

#: The kind of vocabulary with each kind of tokens; its constructor takes its `entries`.
KINDS: dict[Tokens, type[Any]] = {"characters": Characters, "bytes": Bytes, "words": Words, "bpe": BytePairs}

__all__ = [
    "BLANK", "KINDS", "LONGEST_TOKEN", "MOST_TOKENS", "UNKNOWN", "BytePairs", "Bytes", "Characters", "Tokens",
    "Vocabulary", "Words", "whole_words",
]  # fmt: skip
