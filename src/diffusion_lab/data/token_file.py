"""Tokens of a text in a file, made once and read by as many processes as like, each page when it is needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_lab import console
from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import atomic_write, write_text
from diffusion_lab.machine.file_lock import Lock


def token_dtype(size: int) -> np.dtype[Any]:
    """Return the smallest type that stores the ids of a vocabulary of this size: of one, two or four bytes.

    That of two bytes is signed, and its ids from 32,768 on are read as negative numbers.
    """
    return np.dtype("u1" if size <= 2**8 else "<i2" if size <= 2**16 else "<i4")


class TokenFile:
    """The token ids of a text, one after another, and a small JSON file beside them that says how many there are.

    The JSON file is written last: with it, the tokens are complete.

    Args:
        folder: where it is, or is made.
        name: of the text.
        key: what the tokens follow from, as plain values; another key is another file.
        dtype: of the ids.
    """

    def __init__(self, folder: Path, name: str, key: Any, dtype: np.dtype[Any]) -> None:
        digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).hexdigest()
        self.path = folder / f"{name}_{digest}.bin"
        self.facts = self.path.with_suffix(".json")
        self.dtype = dtype

    def read_or_write(self, parts: Iterable[Iterable[np.ndarray]]) -> tuple[np.ndarray, list[int]]:
        """Return all ids, which lie in the file, and how many there are of each part.

        Args:
            parts: the ids, a piece at a time, to be written if there is no file yet. Where other processes need the
                same file at once, one writes it and the others wait.

        Raises:
            LabError: naming the file, if it is damaged or cannot be written.
        """
        if not self.facts.is_file():
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                lock = Lock.wait_for(self.path.with_suffix(".lock"), self._tell)
                try:
                    if not self.facts.is_file():  # another process may have written it meanwhile
                        self._write(parts)
                finally:
                    lock.release()
            except OSError as error:
                raise LabError(
                    f"cannot write the tokens of the text to {self.path}: {error.strerror} (paths.data_dir=… names "
                    "another folder, and data.in_memory=true needs none)"
                ) from error
        return self._read()

    def _tell(self) -> None:
        console.current().note("another process turns this text into tokens: waiting for it")

    def _write(self, parts: Iterable[Iterable[np.ndarray]]) -> None:
        console.current().note(f"turning the text into tokens, kept in {self.path}")
        for left in self.path.parent.glob(f".{self.path.name}.*.tmp"):  # by a process that was killed
            left.unlink(missing_ok=True)
        counts: list[int] = []
        with atomic_write(self.path) as file:
            for part in parts:
                counts.append(0)
                for ids in part:
                    file.write(ids.tobytes())
                    counts[-1] += len(ids)
        write_text(self.facts, json.dumps({"tokens": counts}) + "\n")

    def _read(self) -> tuple[np.ndarray, list[int]]:
        try:
            counts = [int(count) for count in json.loads(self.facts.read_text(encoding="utf-8"))["tokens"]]
            if self.path.stat().st_size != sum(counts) * self.dtype.itemsize:
                raise ValueError("it has another size")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LabError(
                f"{self.path} is damaged: delete {self.facts.name} beside it, and the next run makes both again"
            ) from error
        if not sum(counts):
            return np.zeros(0, self.dtype), counts
        # Private pages: PyTorch takes no array that cannot be written, and nothing that is written gets to the file.
        return np.memmap(self.path, self.dtype, mode="c"), counts
