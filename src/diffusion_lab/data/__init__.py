"""LightningDataModules and the loader. They know nothing about diffusion."""

from diffusion_lab.data.base import DataModule, Split
from diffusion_lab.data.digits import Digits
from diffusion_lab.data.images import ImageDataModule
from diffusion_lab.data.loader import Batch, Loader, count_batches
from diffusion_lab.data.mnist import MNIST, FashionMNIST

__all__ = [
    "MNIST",
    "Batch",
    "DataModule",
    "Digits",
    "FashionMNIST",
    "ImageDataModule",
    "Loader",
    "Split",
    "count_batches",
]
