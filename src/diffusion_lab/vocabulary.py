"""Vocabularies: text to token ids, and back."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

Tokens = Literal["characters", "bytes", "words", "bpe"]

#: What stands in a text for a token that is no token, such as a mask.
BLANK = "█"

#: The word that stands for all words that are not in a vocabulary.
UNKNOWN = "<unk>"

#: The most tokens of a vocabulary that is found.
MOST_TOKENS = 500_000

#: The longest token of byte pairs, in bytes.
LONGEST_TOKEN = 64

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")

_LAST_BREAK = re.compile(r".*\S([ \n])", re.DOTALL)

#: How many characters one core encodes at a time.
_PART = 2**12

#: The most characters in which a place to cut a text is looked for.
_LONGEST_STRETCH = 2**20


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

    def count_characters(self, ids: Sequence[int]) -> int:
        """Return the number of characters of the text of ids: consecutive sequences have together those of the whole.

        Where tokens are parts of characters, a character counts for the sequence that has its first byte.
        """
        return len(self.text(ids))

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        """Return the text of each id by itself; None for an id that is no token."""
        return [self.text([i]) if 0 <= i < self.size else None for i in ids]

    @abstractmethod
    def entries(self) -> str | list[str] | None:
        """Return what the constructor needs to make it again; None for nothing."""


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
        return sum(map(_begins_character, ids))

    def pieces(self, ids: Sequence[int]) -> list[str | None]:
        """Return the text of each byte; one that is no character by itself is written as `<E2>`."""
        return [_shown(bytes([i])) if 0 <= i < 256 else None for i in ids]

    def entries(self) -> None:
        return None


class Words(Vocabulary):
    """A token for each word, space and sign; words that have none become `UNKNOWN`.

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

    def entries(self) -> list[str]:
        return self.words


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
        self._starts = [sum(map(_begins_character, token)) for token in self._tokens]

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
        return [_shown(self._tokens[i]) if 0 <= i < self.size else None for i in ids]

    def entries(self) -> list[str]:
        return self._pairs

    @cached_property
    def _encoder(self) -> Any:
        """What encodes, of the library; decoding needs none."""
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


def _shown(token: bytes) -> str:
    """Return the text of bytes, each of which beyond ASCII is written as `<E2>` where they are no whole characters."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 128 else f"<{byte:02X}>" for byte in token)


def _begins_character(byte: int) -> bool:
    """Return whether a byte of UTF-8 is the first one of a character."""
    return byte & 0xC0 != 0x80


#: The kind of vocabulary with each kind of tokens; its constructor takes its `entries`.
KINDS: dict[Tokens, type[Any]] = {"characters": Characters, "bytes": Bytes, "words": Words, "bpe": BytePairs}


def whole_words(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the same text, cut at other places, so that the tokens of its pieces are those of the whole text.

    It is cut before a space or line break that follows a sign, since a token of words or byte pairs begins there
    whatever comes before and after; and where there is none for a million characters.
    """
    held = ""
    for piece in pieces:
        text = held + piece
        found = _LAST_BREAK.match(text)
        cut = found.start(1) if found else 0
        if len(text) - cut > _LONGEST_STRETCH:
            cut = len(text)
        if cut:
            yield text[:cut]
        held = text[cut:]
    if held:
        yield held
