"""What the image data sets share: splits, batches, and their place in memory."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from diffusion_lab.data.loader import Loader, permutation


@dataclass(frozen=True)
class Split:
    """Images [N, C, H, W] uint8 with labels [N] int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Tensor) -> Split:
        """The rows named."""
        return Split(self.images[rows], self.labels[rows])

    def normalized(self, count: int | None = None) -> Tensor:
        """The first `count` images (all where None) as [n, C, H, W] float32 in [−1, 1]."""
        return self.images[:count].float() / 127.5 - 1


class ImageDataModule(pl.LightningDataModule):
    """Images in memory as uint8, gathered and normalized to [−1, 1] a batch at a time.

    A subclass says where the images come from: `prepare_data` fetches and checks them, `load` reads them.

    Args:
        batch_size: of the global batch, over all processes and accumulated micro-batches.
        limit_train: train on the first so many images only; None for all.
        seed: of the order in which the images are seen.

    Attributes:
        channels, image_size, num_classes: what the images are, known before they are read.
        train, val, test: the splits, after `setup`.
    """

    channels: int
    image_size: int
    num_classes: int

    def __init__(self, batch_size: int, limit_train: int | None, seed: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"data.batch_size must be at least 1, got {batch_size}")
        if limit_train is not None and limit_train < 1:
            raise ValueError(f"data.limit_train must be at least 1 or null, got {limit_train}")
        self.batch_size = batch_size
        self.limit_train = limit_train
        self.seed = seed
        self.train: Split | None = None
        self.val: Split | None = None
        self.test: Split | None = None
        self._train_loader: Loader | None = None
        self._place: dict[str, Any] = {}

    @abstractmethod
    def load(self) -> tuple[Split, Split, Split]:
        """The training, validation and test images."""

    def setup(self, stage: str | None = None) -> None:
        if self.train is not None:
            return
        train, self.val, self.test = self.load()
        if self.limit_train is not None:
            train = train.take(torch.arange(min(self.limit_train, len(train))))
        self.train = train

    def fingerprint(self) -> dict[str, str]:
        """A short hash of each split's images and labels, for the run's record."""
        self.setup()
        result = {}
        for name in ("train", "val", "test"):
            split: Split = getattr(self, name)
            digest = hashlib.blake2b(digest_size=16)
            digest.update(split.images.numpy().tobytes())
            digest.update(split.labels.numpy().tobytes())
            result[name] = digest.hexdigest()
        return result

    def train_dataloader(self) -> Loader:
        assert self.trainer is not None
        assert self.train is not None
        accumulate = self.trainer.accumulate_grad_batches
        parts = self.trainer.world_size * accumulate
        if parts > min(self.batch_size, len(self.train)):
            raise ValueError(
                f"data.batch_size={self.batch_size} cannot be cut into {parts} parts (processes × "
                "trainer.accumulate_grad_batches); it is the global batch size, so take a larger one"
            )
        self._train_loader = self._loader(self.train, shuffle=True, micro_batches=accumulate)
        if self._place:
            self._train_loader.load_state_dict(self._place)
            self._place = {}
        elif self.trainer.current_epoch:  # trainer.reload_dataloaders_every_n_epochs asks for another one
            self._train_loader.load_state_dict({"epoch": self.trainer.current_epoch, "yielded": 0})
        return self._train_loader

    # Lightning restores a loader's own state only in the middle of an epoch, so the place is kept here.

    def state_dict(self) -> dict[str, Any]:
        if self._train_loader is None or self.trainer is None:
            return {}
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return self._train_loader.state_dict(batches.ready - batches.completed, self.trainer.num_training_batches)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._place = state_dict

    def val_dataloader(self) -> Loader:
        assert self.val is not None
        return self._loader(self.val, shuffle=False)

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return batch.to(device)

    def _loader(self, split: Split, shuffle: bool, micro_batches: int = 1) -> Loader:
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        images, labels = split.images, split.labels
        if device.type == "cuda":  # the whole set lives on the device: 47 MB for MNIST
            images, labels = images.to(device), labels.to(device)
        return Loader(
            images,
            labels,
            self.batch_size,
            shuffle,
            self.seed,
            self.trainer.global_rank,
            self.trainer.world_size,
            micro_batches,
        )


def hold_out(pool: Split, count: int, seed: int) -> tuple[Split, Split]:
    """(what is left, `count` held out), chosen by `seed` alone."""
    order = permutation(len(pool), seed, "hold out")
    return pool.take(order[count:].sort().values), pool.take(order[:count].sort().values)
