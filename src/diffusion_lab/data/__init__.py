"""LightningDataModules and the loader. They know nothing about diffusion."""

from diffusion_lab.data.base import DataModule
from diffusion_lab.data.cifar10 import CIFAR10
from diffusion_lab.data.digits import Digits
from diffusion_lab.data.image_folder import ImageFolder
from diffusion_lab.data.images import ImageDataModule
from diffusion_lab.data.kmnist import KMNIST
from diffusion_lab.data.loader import Batch, Loader, count_batches
from diffusion_lab.data.mnist import MNIST, FashionMNIST
from diffusion_lab.data.python_docs import PythonDocs
from diffusion_lab.data.split import Split, Stored, UnreadableItemsError
from diffusion_lab.data.text8 import Text8
from diffusion_lab.data.text_files import TextFiles
from diffusion_lab.data.texts import TextDataModule
from diffusion_lab.data.tiny_shakespeare import TinyShakespeare
from diffusion_lab.data.unknown_images import UnknownImages

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
    "PythonDocs",
    "Split",
    "Stored",
    "Text8",
    "TextDataModule",
    "TextFiles",
    "TinyShakespeare",
    "UnknownImages",
    "UnreadableItemsError",
    "count_batches",
]
