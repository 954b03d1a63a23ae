"""LightningDataModules and the loader. They know nothing about diffusion."""

from diffusion_lab.data.base import DataModule
from diffusion_lab.data.cifar10 import CIFAR10
from diffusion_lab.data.digits import Digits
from diffusion_lab.data.image_folder import ImageFolder
from diffusion_lab.data.images import ImageDataModule
from diffusion_lab.data.kmnist import KMNIST
from diffusion_lab.data.loader import Batch, Loader, count_batches
from diffusion_lab.data.mnist import MNIST, FashionMNIST
from diffusion_lab.data.split import Split, Stored, UnreadableItemsError

__all__ = [
    "CIFAR10",
    "KMNIST",
    "MNIST",
    "Batch",
    "DataModule",
    "Digits",
    "FashionMNIST",
    "ImageDataModule",
    "ImageFolder",
    "Loader",
    "Split",
    "Stored",
    "UnreadableItemsError",
    "count_batches",
]
