"""Texts that are downloaded once, and checked against a published checksum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from diffusion_lab.data.checked_file import CheckedFile
from diffusion_lab.data.text_pieces import pieces_of
from diffusion_lab.data.texts import TextDataModule
from diffusion_lab.vocabulary import Tokens


class DownloadedText(TextDataModule):
    """A text from a file with a known checksum.

    Args:
        data_dir: the folder that holds `place`, which is downloaded if it is not there.
        length, tokens, vocabulary, vocab_size, validation, test, crops, batch_size, limit_train, seed, in_memory: see
            `TextDataModule`.

    Attributes:
        place: of the file, below the folder of data.
        md5: its checksum.
        address: where it is.
        characters: the vocabulary of ``tokens=characters``, which is known before the file is there.
    """

    place: ClassVar[str]
    md5: ClassVar[str]
    address: ClassVar[str]
    characters: ClassVar[str]

    def __init__(
        self,
        data_dir: str,
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
    ) -> None:
        self.file = CheckedFile(self.name, Path(data_dir) / self.place, self.md5, self.address)
        if tokens == "characters" and vocabulary is None:
            vocabulary = self.characters
        super().__init__(
            length, tokens, vocabulary, vocab_size, validation, test, crops, batch_size, limit_train, seed, in_memory,
            data_dir,
        )  # fmt: skip

    def prepare_data(self) -> None:
        """Download the file if it is missing, and check it.

        Raises:
            LabError: naming the file, if it is damaged, or missing and cannot be fetched.
        """
        self.file.ensure()

    def pieces(self) -> Iterator[str]:
        self.file.ensure()
        yield from self.pieces_in(self.file.path)

    def pieces_in(self, path: Path) -> Iterator[str]:
        """Yield the text of the file: by default all of it, as UTF-8."""
        with path.open(encoding="utf-8", newline="") as file:
            yield from pieces_of(file)
