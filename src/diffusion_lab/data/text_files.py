"""Any text: a file, or all text files of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from diffusion_lab.data.text_pieces import pieces_of
from diffusion_lab.data.texts import TextDataModule
from diffusion_lab.errors import LabError
from diffusion_lab.vocabulary import Tokens


class TextFiles(TextDataModule):
    """A text file in UTF-8, or all files of a folder and below whose names end in .txt or .md, in alphabetical order.

    Args:
        path: the file or folder.
        length, tokens, vocabulary, vocab_size, validation, test, crops: see `TextDataModule`.
        batch_size, limit_train, seed, in_memory, data_dir: see `TextDataModule`.

    Raises:
        LabError: if a vocabulary must be found, and the text cannot be read.
    """

    name = "text"

    def __init__(
        self,
        path: str,
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
        self.path = Path(path).expanduser().resolve()
        super().__init__(
            length, tokens, vocabulary, vocab_size, validation, test, crops, batch_size, limit_train, seed, in_memory,
            data_dir,
        )  # fmt: skip

    def found(self) -> dict[str, Any]:
        return {"path": str(self.path), **super().found()}

    def prepare_data(self) -> None:
        """Read everything once, since a file may be no text.

        Raises:
            LabError: naming the file.
        """
        assert self._size is not None

    def pieces(self) -> Iterator[str]:
        for number, path in enumerate(self._files()):
            if number:
                yield "\n\n"
            try:
                with path.open(encoding="utf-8-sig", newline="") as file:
                    yield from pieces_of(file)
            except OSError as error:
                raise LabError(f"data.path: cannot read {path}: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise LabError(f"data.path: {path} is no UTF-8 text ({error.reason})") from error

    def _files(self) -> list[Path]:
        if self.path.is_dir():
            files = sorted(file for file in self.path.rglob("*") if file.suffix in (".txt", ".md") and file.is_file())
            if not files:
                raise LabError(f"data.path={self.path}: no file in it or below ends in .txt or .md")
            return files
        if not self.path.exists():
            raise LabError(f"data.path={self.path}: there is no such file or folder")
        return [self.path]
