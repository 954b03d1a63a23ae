"""A folder of pictures of any size and format, with a class for each subfolder or none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from diffusion_lab.data.base import Split, hold_out
from diffusion_lab.data.images import ImageDataModule
from diffusion_lab.data.loader import permutation
from diffusion_lab.data.picture_files import ENDINGS, PictureFiles
from diffusion_lab.errors import LabError

_LARGEST = 2048

#: More subfolders are taken for parts of a large set, since their names are recorded with the run.
_MOST_CLASSES = 5000


class ImageFolder(ImageDataModule):
    """Pictures below a folder, cut to squares (see `picture_files.square`). The test split is the validation split.

    Names that begin with a dot, and files that are no pictures by the ending of their name, are left out.

    Args:
        path: the folder.
        image_size: the side of the squares, in pixels.
        channels: 3, or 1 for grey.
        classes: subfolders whose pictures have the labels 0, 1, …; an empty list for all pictures below `path`,
            without labels; None for all subfolders in alphabetical order, or no labels where there are none.
        flip: whether an image is mirrored, left to right, in half of the epochs of training, at random.
        validation: how many images to hold out, or (below 1) which share of all.
        split_seed: which images are held out.
        batch_size: of the global batch.
        limit_train: train on the first so many images only; None for all.
        in_memory: whether images are read into memory before training; ``auto``: if they take at most a quarter of
            what is available.
        workers: how many processes read images; 0 for the run's own.
        seed: of the order in which the images are seen, and of `flip`.

    Raises:
        LabError: if there is no such folder and its classes are not given.
    """

    name = "image folder"

    def __init__(
        self,
        path: str,
        image_size: int = 64,
        channels: Literal[1, 3] = 3,
        classes: list[str | int] | None = None,
        flip: bool = False,
        validation: int | float = 0.05,
        split_seed: int = 0,
        batch_size: int = 128,
        limit_train: int | None = None,
        in_memory: Literal["auto"] | bool = "auto",
        workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, limit_train, seed, in_memory, workers, flip)
        if not 1 <= image_size <= _LARGEST:
            raise ValueError(f"data.image_size must lie between 1 and {_LARGEST}, got {image_size}")
        if not (0 < validation < 1 or (isinstance(validation, int) and validation >= 1)):
            raise ValueError(
                f"data.validation must be a number of images, at least 1, or a share between 0 and 1, got {validation}"
            )
        names = None if classes is None else [str(name) for name in classes]  # YAML reads 3 as a number
        if names is not None and len(set(names)) != len(names):
            raise ValueError(f"data.classes names a class twice: {', '.join(names)}")
        self.path = Path(path).expanduser().resolve()
        self.image_size = image_size
        self.channels = channels
        self.validation = validation
        self.split_seed = split_seed
        self.classes = _subfolders(self.path) if names is None else names
        self.num_classes = len(self.classes) or None

    def found(self) -> dict[str, Any]:
        return {"path": str(self.path), "classes": self.classes}

    def prepare_data(self) -> None:
        """Read every picture once, since some may be broken.

        Raises:
            LabError: naming the folder, if it has no pictures, or those that cannot be read.
        """
        self.setup()
        self.fingerprint()

    def load(self) -> tuple[Split, Split, Split]:
        names, labels = self._list_pictures()
        pool = Split(
            PictureFiles(self.path, names, self.image_size, self.channels),
            torch.tensor(labels) if self.classes else None,
        )
        count = self.validation if self.validation >= 1 else max(1, round(self.validation * len(pool)))
        if count >= len(pool):
            raise LabError(f"data.validation={self.validation}: {self.path} has {len(pool):,} pictures in all")
        # Within a split the classes are mixed, so that its first rows show them all.
        train, val = (
            part.take(permutation(len(part), self.split_seed, "mix"))
            for part in hold_out(pool, int(count), self.split_seed)
        )
        return train, val, val

    def _list_pictures(self) -> tuple[list[str], list[int]]:
        """Return the path of each picture, relative to the folder, and its label, in the order of labels and names."""
        there = {entry.name: entry for entry in _entries(self.path)}
        if not self.classes:
            names = sorted(_pictures_below(self.path, ""))
            if not names:
                raise LabError(f"data.path={self.path}: no picture is in it or below ({_endings()})")
            return names, []
        names, labels = [], []
        for label, name in enumerate(self.classes):
            of_class = sorted(_pictures_below(self.path, name)) if (self.path / name).is_dir() else []
            if not of_class:
                raise LabError(
                    f"data.path={self.path}: no picture is in its subfolder {name}, which is a class ({_endings()}); "
                    "data.classes=[…] names those that are, data.classes=[] is for pictures without labels"
                )
            names += of_class
            labels += [label] * len(of_class)
        if loose := sorted(name for name, entry in there.items() if _is_picture(entry)):
            raise LabError(
                f"data.path={self.path}: {loose[0]} and {len(loose) - 1} other pictures lie beside its subfolders, "
                "which are classes: move them, or train without labels with data.classes=[]"
            )
        return names, labels


def _subfolders(path: Path) -> list[str]:
    names = sorted(entry.name for entry in _entries(path) if entry.is_dir())
    if len(names) > _MOST_CLASSES:
        raise LabError(
            f"data.path={path}: it has {len(names):,} subfolders, more than the {_MOST_CLASSES:,} that are taken for "
            "classes; data.classes=[] is for pictures without labels"
        )
    return names


def _pictures_below(folder: Path, name: str) -> Iterator[str]:
    """Yield the relative path of each picture in the subfolder `name` and below; no link is followed in circles."""
    waiting = [(name, frozenset[tuple[int, int]]())]
    while waiting:
        relative, above = waiting.pop()
        place = folder / relative
        try:
            status = place.stat()
        except OSError as error:
            raise LabError(f"data.path={folder}: cannot read {place}: {error.strerror}") from error
        if (status.st_dev, status.st_ino) in above:
            continue
        for entry in _entries(place):
            inside = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir():
                waiting.append((inside, above | {(status.st_dev, status.st_ino)}))
            elif _is_picture(entry):
                yield inside


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError as error:
        raise LabError(f"data.path={folder}: there is no such folder") from error
    except OSError as error:
        raise LabError(f"data.path={folder}: cannot read the folder: {error.strerror}") from error


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in ENDINGS and entry.is_file()  # noqa: PTH122


def _endings() -> str:
    return " ".join(sorted(ENDINGS))
