"""Tiny Shakespeare: a million characters of plays (Karpathy 2015)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from diffusion_lab.data.checked_file import CheckedFile
from diffusion_lab.data.texts import TextDataModule
from diffusion_lab.vocabulary import Tokens

_CHARACTERS = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class TinyShakespeare(TextDataModule):
    """1,115,394 characters, 65 different ones: by default the first 90 % to train on, the rest to validate and test.

    Args:
        data_dir: the folder that holds ``tinyshakespeare/input.txt``, which is downloaded if it is not there.
        length, tokens, vocabulary, max_words, validation, test, crops, batch_size, limit_train, seed: see
            `TextDataModule`.
    """

    name = "tiny_shakespeare"

    def __init__(
        self,
        data_dir: str,
        length: int = 256,
        tokens: Tokens = "characters",
        vocabulary: str | list[str] | None = None,
        max_words: int = 10_000,
        validation: float | Literal["test"] = "test",
        test: float = 0.1,
        crops: bool = True,
        batch_size: int = 32,
        limit_train: int | None = None,
        seed: int = 0,
    ) -> None:
        self.file = CheckedFile(
            "Tiny Shakespeare",
            Path(data_dir) / "tinyshakespeare" / "input.txt",
            "6fb458f1232090904fb40fe944165e91",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        )
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
        return self.file.path.read_text(encoding="utf-8")
