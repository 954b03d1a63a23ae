"""Kuzushiji-MNIST (Clanuwat et al. 2018): cursive Japanese characters."""

from __future__ import annotations

from typing import ClassVar

from torchvision import datasets

from diffusion_lab.data.downloaded import DownloadedImages
from diffusion_lab.data.mnist import MNIST


class KMNIST(MNIST):
    """60,000 characters to train on and 10,000 to test on, in ten classes; otherwise as `MNIST`.

    The files are read as they are published, compressed.
    """

    name = "KMNIST"
    source = datasets.KMNIST
    mirrors = tuple(datasets.KMNIST.mirrors)
    instead = ""
    checksums: ClassVar[dict[str, str]] = dict(datasets.KMNIST.resources)
    fetch = DownloadedImages.fetch
