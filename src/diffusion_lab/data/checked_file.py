"""A file that is downloaded once, and checked against a published checksum."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.utils import download_url

from diffusion_lab import console
from diffusion_lab.errors import LabError


@dataclass(frozen=True)
class CheckedFile:
    """A file of a data set.

    Attributes:
        name: of the set, as in messages.
        path: where it lies, or is downloaded to.
        md5: its checksum, in hexadecimal digits.
        address: where it is.
    """

    name: str
    path: Path
    md5: str
    address: str

    def ensure(self) -> None:
        """Download the file if it is missing, and check it.

        Raises:
            LabError: naming the file, if it is damaged, or missing and cannot be fetched.
        """
        if not self.path.is_file():
            self._download()
        check_file(self.path, self.md5)

    def _download(self) -> None:
        console.current().note(f"{self.name} is not in {self.path.parent}: fetching it")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                download_url(self.address, self.path.parent, self.path.name, self.md5)
        except Exception as error:  # it may raise anything, and what helps is the same
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()  # one that was made for nothing
            raise LabError(
                f"{self.name} is not in {self.path.parent} and could not be downloaded ({short_reason(error)}): put "
                f"{self.path.name} there from {self.address}, name another folder with paths.data_dir=… or "
                "DIFFUSION_LAB_DATA_DIR, or use data=python_docs, which needs no download"
            ) from error


def check_file(path: Path, md5: str) -> None:
    """Check a file against its checksum, in hexadecimal digits.

    Raises:
        LabError: naming the file, if it cannot be read or is damaged.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise LabError(f"cannot read {path}: {error.strerror}") from error
    if found != md5:
        raise LabError(
            f"{path} is damaged ({path.stat().st_size:,} bytes, md5 {found}, expected {md5}): "
            "delete it, and the next run fetches it again"
        )


def short_reason(error: Exception) -> str:
    """Return the message of an error in one line of at most 160 characters, cut where one cannot miss it."""
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{text[:160]}…"
