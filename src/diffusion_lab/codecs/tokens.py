"""Tokens are their own codes, and people read them as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diffusion_lab.codecs.base import Codec, Reconstruct
from diffusion_lab.distributions import Categorical, Distribution
from diffusion_lab.machine.atomic_write import write_text
from diffusion_lab.vocabulary import Vocabulary

if TYPE_CHECKING:
    from diffusion_lab.figures import Sheet, Shown, TokenStrip


class Tokens(Codec):
    """Sequences [B, L] int64 of token ids are their own codes.

    Args:
        vocab_size: V, the number of tokens; filled in from the data.
        vocabulary: the text of each token; filled in from the data.
    """

    def __init__(self, vocab_size: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.vocabulary = vocabulary

    def provides(self) -> dict[str, Any]:
        return {"vocab_size": self.vocab_size}

    def encode(self, x: Tensor) -> Tensor:
        """Return [B, L] int64, unchanged."""
        return x

    def decode(self, z: Tensor) -> Tensor:
        """Return [B, L] int64, unchanged: a position that is masked holds an id that is no token."""
        return z

    def log_likelihood(self, x: Tensor, z0: Distribution) -> Tensor:
        """Return the log-probability [B] of tokens under a `Categorical`, the first V of whose states are tokens."""
        assert isinstance(z0, Categorical)
        return z0.log_probs.gather(-1, x[..., None]).flatten(1).sum(1)

    def show(self, sheet: Sheet) -> Shown | Sequence[Shown]:
        """Return each sequence as a paragraph, under its number or what stands beside its row and above its column.

        With the confidence in each token, a line for each sequence: as text, as a picture and as a page.
        """
        if sheet.confidence:
            from diffusion_lab.figures import strip_figure, strip_page, strip_text

            strip = self._strip(sheet)
            return [strip_text(strip), strip_figure(strip), strip_page(strip)]
        parts, count = [sheet.title], 0
        for number, row in enumerate(sheet.rows):
            name = sheet.names[number] if number < len(sheet.names) else ""
            for column, tokens in enumerate(row):
                label = sheet.columns[column] if column < len(sheet.columns) else ""
                heading = ", ".join(part for part in (name, label) if part) or str(count)
                parts.append(f"[{heading}]\n{self.text(tokens)}")
                count += 1
        return "\n\n".join(parts) + "\n"

    def _strip(self, sheet: Sheet) -> TokenStrip:
        from diffusion_lab.figures import Token, TokenStrip

        def tokens(ids: Tensor, confidence: Tensor) -> list[Token]:
            return list(map(Token, self.vocabulary.pieces(ids.tolist()), confidence.tolist()))

        rows = zip(sheet.rows, sheet.confidence, strict=True)
        return TokenStrip(sheet.title, sheet.columns, [list(map(tokens, *row)) for row in rows])

    def text(self, tokens: Tensor) -> str:
        """Return the text of one sequence [L]."""
        return self.vocabulary.text(tokens.tolist())

    def demonstrate(self, items: Tensor, reconstruct: Reconstruct, caption: str) -> Sequence[Shown]:
        """Return why Gaussian noise fails on the ids of a sentence, and what a network fills in where it is masked."""
        from diffusion_lab.figures import demonstration, masks_of_sentence, sentence_of

        pieces = [[piece or "" for piece in self.vocabulary.pieces(ids)] for ids in items.tolist()]
        row, place = sentence_of(pieces, self.vocab_size)
        destroyed = masks_of_sentence(items.shape[1], place)
        found = reconstruct(row, torch.from_numpy(destroyed))
        states, guesses = ([self.vocabulary.pieces(ids) for ids in part[:, place].tolist()] for part in found)
        words = [piece or "" for piece in self.vocabulary.pieces(range(self.vocab_size))]
        ids = items[row, place].tolist()
        return demonstration(ids, words, destroyed[:, place], states, guesses, caption)

    def with_blanks(self, text: str, blank: str | None) -> tuple[Tensor, Tensor]:
        tokens: list[Tensor] = []
        given: list[Tensor] = []
        for part in re.split(f"({re.escape(blank)})", text) if blank else [text]:
            ids = torch.zeros(1, dtype=torch.int64) if part == blank else self._exactly(part)
            tokens.append(ids)
            given.append(torch.full((len(ids),), part != blank))
        return torch.cat(tokens), torch.cat(given)

    def _exactly(self, text: str) -> Tensor:
        """Return the ids [N] int64 that have exactly this text; raise ValueError if none do."""
        ids = self.vocabulary.encode(text)
        if (found := self.vocabulary.text(ids.tolist())) != text:
            raise ValueError(f"{text!r} is not made of tokens of the vocabulary: they would be read as {found!r}")
        return ids

    def characters(self, x: Tensor) -> Tensor | None:
        """Return the number of characters [B] int64 of the texts of x [B, L]: see `Vocabulary.count_characters`.

        None if that of one of them is not known.
        """
        counts = self.vocabulary.counts(x.tolist())
        return None if counts is None else torch.tensor(counts)

    def save(self, samples: Tensor, path: Path) -> list[Path]:
        """Write token ids [N, L] to the NumPy file `path`, and their texts to a text file beside it."""
        files = super().save(samples, path)
        texts = path.with_suffix(".txt")
        write_text(texts, "\n\n".join(f"[{n}]\n{self.text(tokens)}" for n, tokens in enumerate(samples)) + "\n")
        return [*files, texts]
