"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017), by way of torchvision's download."""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path
from typing import ClassVar, Literal

from torchvision import datasets
from torchvision.datasets.mnist import read_image_file, read_label_file

from diffusion_lab import console
from diffusion_lab.data.base import Split, hold_out
from diffusion_lab.data.images import ImageDataModule
from diffusion_lab.errors import LabError

_IMAGES = 60_000


class MNIST(ImageDataModule):
    """60,000 handwritten digits to train on and 10,000 to test on, 28×28, one channel, ten classes.

    Args:
        data_dir: the folder that holds ``MNIST/raw``; what is missing there is downloaded.
        batch_size: of the global batch.
        validation: how many training images to hold out (the same ones for every `seed`), or ``test`` to
            train on all of them and validate on the test images.
        split_seed: which images are held out.
        limit_train: train on the first so many images only; None for all.
        seed: of the order in which the images are seen.
    """

    name = "MNIST"
    channels, image_size, num_classes = 1, 28, 10
    source: type[datasets.MNIST] = datasets.MNIST
    #: md5 of the four uncompressed files.
    checksums: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }

    def __init__(
        self,
        data_dir: str,
        batch_size: int = 128,
        validation: int | Literal["test"] = 5000,
        split_seed: int = 0,
        limit_train: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, limit_train, seed)
        if validation != "test" and not (isinstance(validation, int) and 0 < validation < _IMAGES):
            raise ValueError(
                f"data.validation must be the word test or a number from 1 to {_IMAGES - 1}, got {validation!r}"
            )
        self.data_dir = Path(data_dir)
        self.validation = validation
        self.split_seed = split_seed

    @property
    def raw_dir(self) -> Path:
        """Where the four files lie."""
        return self.data_dir / self.name / "raw"

    def prepare_data(self) -> None:
        """Download what is missing, and check what is there.

        Raises:
            LabError: naming the folder or the file, if it is missing and cannot be fetched, or is damaged.
        """
        if any(not (self.raw_dir / name).is_file() for name in self.checksums):
            self._download()
        for name, expected in self.checksums.items():
            path = self.raw_dir / name
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "md5").hexdigest()
            except OSError as error:
                raise LabError(f"cannot read {path}: {error.strerror}") from error
            if found != expected:
                raise LabError(
                    f"{path} is damaged ({path.stat().st_size:,} bytes, md5 {found}, expected {expected}): "
                    "delete it, and the next run fetches it again"
                )

    def load(self) -> tuple[Split, Split, Split]:
        # Read by name, for torchvision's classes would take older files of another format where they lie about.
        pool, test = (
            Split(
                read_image_file(str(self.raw_dir / f"{part}-images-idx3-ubyte"))[:, None],
                read_label_file(str(self.raw_dir / f"{part}-labels-idx1-ubyte")),
            )
            for part in ("train", "t10k")
        )
        if self.validation == "test":
            return pool, test, test
        assert isinstance(self.validation, int)
        train, val = hold_out(pool, self.validation, self.split_seed)
        return train, val, test

    def _download(self) -> None:
        console.current().note(f"{self.name} is not in {self.raw_dir}: fetching it")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.source(self.data_dir, download=True)
        except Exception as error:
            # Whatever went wrong inside the download, what helps is the same.
            raise LabError(
                f"{self.name} is not in {self.raw_dir} and could not be downloaded "
                f"({' '.join(str(error).split())[:120]}): put {', '.join(self.checksums)} there "
                "(.gz is fine too), name another folder with paths.data_dir=… or DIFFUSION_LAB_DATA_DIR, "
                "or use data=digits, which needs no download"
            ) from error


class FashionMNIST(MNIST):
    """60,000 pictures of clothing to train on and 10,000 to test on; otherwise as `MNIST`."""

    name = "FashionMNIST"
    source = datasets.FashionMNIST
    checksums: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }
