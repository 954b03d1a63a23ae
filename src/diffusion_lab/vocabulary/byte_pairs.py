"""Byte pairs as tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from diffusion_lab.vocabulary.base import BLANK, Vocabulary
from diffusion_lab.vocabulary.utf8_bytes import begins_character, shown
from diffusion_lab.vocabulary.whole_words import whole_words

#: The longest token of byte pairs, in bytes.
LONGEST_TOKEN = 64

#: How many characters one core encodes at a time.
_PART = 2**12


class BytePairs(Vocabulary):
    """Byte-level byte pair encoding (Sennrich et al. 2016; Radford et al. 2019): any text is tokens, to the byte.

    Ids below 256 are the bytes of UTF-8. Each further one is two earlier tokens side by side, the most frequent pair of
    the text that the vocabulary was learned from, within words as GPT-2 cuts them.

    Args:
        pairs: the ids of the two tokens of each pair, as in ``"116 104"``, in the order in which they are merged. A
            pair whose bytes are those of an earlier token adds no id.
    """

    usual_size = 4_096
    cuts_text = True

    def __init__(self, pairs: str | Sequence[str]) -> None:
        if isinstance(pairs, str):
            raise ValueError("data.vocabulary must be a list of pairs for data.tokens=bpe")
        self._pairs = list(pairs)
        self._tokens = [bytes([value]) for value in range(256)]
        self._merges: list[tuple[bytes, bytes]] = []
        known = set(self._tokens)
        for number, pair in enumerate(self._pairs):
            if not re.fullmatch(r"\d{1,6} \d{1,6}", pair, re.ASCII):
                raise ValueError(f"data.vocabulary[{number}]={pair[:40]!r}: it must be two token ids, as in '116 104'")
            left, right = map(int, pair.split())
            if max(left, right) >= len(self._tokens):
                raise ValueError(f"data.vocabulary[{number}]={pair!r}: it must be a pair of earlier tokens")
            self._merges.append((self._tokens[left], self._tokens[right]))
            merged = b"".join(self._merges[-1])
            if len(merged) > LONGEST_TOKEN:
                raise ValueError(f"data.vocabulary[{number}]={pair!r}: it has more than {LONGEST_TOKEN} bytes")
            if merged not in known:
                known.add(merged)
                self._tokens.append(merged)
        self.size = len(self._tokens)
        self._starts = [sum(map(begins_character, token)) for token in self._tokens]

    @classmethod
    def found_in(cls, pieces: Iterable[str], size: int) -> BytePairs:
        """Return the vocabulary that is learned from a text: of pairs that occur twice or more."""
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        if size <= 256:
            raise ValueError(f"data.vocab_size must be above 256, the number of bytes, for data.tokens=bpe, got {size}")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            initial_alphabet=sorted(_SIGNS),
            max_token_length=LONGEST_TOKEN,
            show_progress=False,
        )
        tokenizer.train_from_iterator(whole_words(pieces), trainer)
        ids = {sign: value for value, sign in enumerate(_SIGNS)}
        pairs = []
        for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
            pairs.append(f"{ids[left]} {ids[right]}")
            ids.setdefault(left + right, len(ids))
        return cls(pairs)

    def encode(self, text: str) -> Tensor:
        text.encode()  # what is no UTF-8 is refused, as by `Bytes`
        # The library encodes several texts at once, one on each core.
        parts = list(whole_words(text[start : start + _PART] for start in range(0, len(text), _PART)))
        encoded = self._encoder.encode_batch_fast(parts, add_special_tokens=False)
        return torch.tensor([i for part in encoded for i in part.ids], dtype=torch.int64)

    def text(self, ids: Sequence[int]) -> str:
        parts = (self._tokens[i] if 0 <= i < self.size else BLANK.encode() for i in ids)
        return b"".join(parts).decode(errors="replace")

    def count_characters(self, ids: Sequence[int]) -> int:
        return sum(self._starts[i] if 0 <= i < self.size else 1 for i in ids)

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        """Return the text of each token; one that is no whole characters has bytes written as `<E2>`."""
        return [shown(self._tokens[i]) if 0 <= i < self.size else None for i in ids]

    def entries(self) -> list[str]:
        return self._pairs

    @cached_property
    def _encoder(self) -> Any:
        """The encoder of the library; decoding needs none."""
        from tokenizers import Tokenizer, models, pre_tokenizers

        def signs(token: bytes) -> str:
            return "".join(_SIGNS[value] for value in token)

        ids = {signs(token): i for i, token in enumerate(self._tokens)}
        encoder = Tokenizer(models.BPE(ids, [(signs(left), signs(right)) for left, right in self._merges]))
        encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return encoder


def _signs_of_bytes() -> list[str]:
    """Return the printable sign that stands for each byte in the library's byte-level vocabularies (GPT-2)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(value) if value in printable else chr(next(others)) for value in range(256)]


_SIGNS = _signs_of_bytes()
