"""Sets of images that are downloaded once, and checked against their published checksums."""

from __future__ import annotations

import contextlib
import io
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

from torchvision.datasets.utils import download_url

from diffusion_lab import console
from diffusion_lab.data.base import Split, hold_out
from diffusion_lab.data.checked_file import check_file, short_reason
from diffusion_lab.data.images import ImageDataModule
from diffusion_lab.errors import LabError


class DownloadedImages(ImageDataModule):
    """Images to train on and images to test on, from files with known checksums.

    Args:
        data_dir: the folder that holds `raw_dir`; what is missing there is downloaded.
        batch_size: of the global batch.
        validation: how many training images to hold out (the same ones for every `seed`), or ``test`` to
            train on all of them and validate on the test images.
        split_seed: which images are held out.
        limit_train: train on the first so many images only; None for all.
        seed: of the order in which the images are seen.
        flip: whether an image is mirrored, left to right, in half of the epochs of training, at random.

    Attributes:
        name: of the set, as in messages.
        train_images: how many there are to train on.
        checksums: md5 of each file in `raw_dir`.
        mirrors: addresses below which the files are.
        instead: which other files would do, in words.
    """

    name: str
    train_images: int
    checksums: ClassVar[dict[str, str]]
    mirrors: ClassVar[tuple[str, ...]] = ()
    instead: str = ""

    def __init__(
        self,
        data_dir: str,
        batch_size: int = 128,
        validation: int | Literal["test"] = 5000,
        split_seed: int = 0,
        limit_train: int | None = None,
        seed: int = 0,
        flip: bool = False,
    ) -> None:
        super().__init__(batch_size, limit_train, seed, flip=flip)
        if validation != "test" and not (isinstance(validation, int) and 0 < validation < self.train_images):
            raise ValueError(
                f"data.validation must be the word test or a number from 1 to {self.train_images - 1}, "
                f"got {validation!r}"
            )
        self.data_dir = Path(data_dir)
        self.validation = validation
        self.split_seed = split_seed

    @property
    @abstractmethod
    def raw_dir(self) -> Path:
        """Where the files lie."""

    @abstractmethod
    def read(self) -> tuple[Split, Split]:
        """Return the images to train on and those to test on, from files that were checked."""

    def fetch(self) -> None:
        """Download the files that are missing; it may raise anything."""
        for name, md5 in self.checksums.items():
            if not (self.raw_dir / name).is_file():
                self._fetch_file(name, md5)

    def prepare_data(self) -> None:
        """Download what is missing, and check what is there.

        Raises:
            LabError: naming the folder or the file, if it is missing and cannot be fetched, or is damaged.
        """
        if any(not (self.raw_dir / name).is_file() for name in self.checksums):
            self._download()
        for name, expected in self.checksums.items():
            check_file(self.raw_dir / name, expected)

    def load(self) -> tuple[Split, Split, Split]:
        pool, test = self.read()
        if self.validation == "test":
            return pool, test, test
        assert isinstance(self.validation, int)
        train, val = hold_out(pool, self.validation, self.split_seed)
        return train, val, test

    def _fetch_file(self, name: str, md5: str) -> None:
        for number, mirror in enumerate(self.mirrors, 1):
            try:
                download_url(f"{mirror}{name}", self.raw_dir, name, md5)
            except Exception:  # it may raise anything, and another mirror may have the file
                if number == len(self.mirrors):
                    raise
            else:
                return

    def _folder_nearby(self) -> str:
        """Return the folder that was meant, if one within it was named whose files are there."""
        within = self.raw_dir.relative_to(self.data_dir)
        for folder in list(self.data_dir.resolve().parents)[: len(within.parts)]:
            if all((folder / within / name).is_file() for name in self.checksums):
                return f"; did you mean paths.data_dir={folder}?"
        return ""

    def _download(self) -> None:
        console.current().note(f"{self.name} is not in {self.raw_dir}: fetching it")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.fetch()
        except Exception as error:
            with contextlib.suppress(OSError):
                self.raw_dir.rmdir()  # one that was made for nothing
                self.raw_dir.parent.rmdir()
            # Whatever went wrong inside the download, what helps is the same.
            raise LabError(
                f"{self.name} is not in {self.raw_dir} and could not be downloaded "
                f"({short_reason(error)}){self._folder_nearby()}: put {', '.join(self.checksums)} there"
                f"{self.instead}, name another folder with paths.data_dir=… or DIFFUSION_LAB_DATA_DIR, "
                "or use data=digits, which needs no download"
            ) from error
