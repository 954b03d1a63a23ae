"""text8: the first 100 million characters of a cleaned Wikipedia (Mahoney 2011)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from diffusion_lab.data.checked_file import CheckedFile
from diffusion_lab.data.texts import TextDataModule
from diffusion_lab.errors import LabError
from diffusion_lab.vocabulary import Tokens

_CHARACTERS = " abcdefghijklmnopqrstuvwxyz"


class Text8(TextDataModule):
    """100 million lower-case letters and spaces: by default 90 % to train on, 5 % to validate and 5 % to test on.

    Args:
        data_dir: the folder that holds ``text8/text8.zip``, which is downloaded if it is not there.
        length, tokens, vocabulary, max_words, validation, test, crops, batch_size, limit_train, seed: see
            `TextDataModule`.
    """

    name = "text8"
    md5 = "3bea1919949baf155f99411df5fada7e"

    def __init__(
        self,
        data_dir: str,
        length: int = 256,
        tokens: Tokens = "characters",
        vocabulary: str | list[str] | None = None,
        max_words: int = 10_000,
        validation: float | Literal["test"] = 0.05,
        test: float = 0.05,
        crops: bool = True,
        batch_size: int = 32,
        limit_train: int | None = None,
        seed: int = 0,
    ) -> None:
        place = Path(data_dir) / "text8" / "text8.zip"
        self.file = CheckedFile("text8", place, self.md5, "http://mattmahoney.net/dc/text8.zip")
        if tokens == "characters" and vocabulary is None:
            vocabulary = _CHARACTERS
        super().__init__(length, tokens, vocabulary, max_words, validation, test, crops, batch_size, limit_train, seed)

    def prepare_data(self) -> None:
        """Download the file if it is missing, and check it.

        Raises:
            LabError: naming the file, if it is damaged, or missing and cannot be fetched.
        """
        self.file.ensure()

    def read(self) -> str:
        self.file.ensure()
        try:
            with zipfile.ZipFile(self.file.path) as archive:
                return archive.read("text8").decode("ascii")
        except (KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
            raise LabError(f"{self.file.path} holds no text8: {error}") from error
