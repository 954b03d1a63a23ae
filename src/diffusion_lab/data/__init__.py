"""LightningDataModules and the loader. They know nothing about diffusion."""

from diffusion_lab.data.digits import Digits
from diffusion_lab.data.images import ImageDataModule, Split
from diffusion_lab.data.loader import Batch, Loader
from diffusion_lab.data.mnist import MNIST, FashionMNIST

__all__ = ["MNIST", "Batch", "Digits", "FashionMNIST", "ImageDataModule", "Loader", "Split"]
