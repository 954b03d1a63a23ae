"""The seam that every data set fills: splits in memory, batches, and their place."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from diffusion_lab.data.loader import Loader, permutation


@dataclass(frozen=True)
class Split:
    """Items of a data set as they are stored: data [N, *D] in the dtype of storage, labels [N] int64 or None."""

    data: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: Tensor) -> Split:
        """Return the rows with these numbers."""
        return Split(self.data[rows], None if self.labels is None else self.labels[rows])


class DataModule(pl.LightningDataModule, ABC):
    """Data in memory, gathered a batch at a time.

    A subclass says where the data comes from: `prepare_data` fetches and checks it, `load` reads it; `shape`,
    `num_classes` and `provides` are known before.

    Args:
        batch_size: of the global batch, over all processes and accumulated micro-batches.
        limit_train: train on the first so many items only; None for all.
        seed: of the order in which the items are seen.

    Attributes:
        item: the word for one item of the data, as in "60,000 images".
        num_classes: how many labels there are; None for data without labels.
        train, val, test: the splits, after `setup`.
    """

    item: str = "sample"
    num_classes: int | None = None

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

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one item in a batch, as [C, H, W]."""

    @abstractmethod
    def load(self) -> tuple[Split, Split, Split]:
        """Return the training, validation and test split."""

    def provides(self) -> dict[str, Any]:
        """Return what constructors of other parts may ask for by name, such as the size of an image."""
        return {}

    def to_batch(self, stored: Tensor) -> Tensor:
        """Return stored items [n, *] as a batch holds them [n, *D]; by default unchanged."""
        return stored

    def example(self) -> Tensor:
        """Return one item [1, *D] of zeros as a batch holds it, to try parts out before the data is there."""
        return self.to_batch(torch.zeros(1, *self.shape, dtype=torch.int64))

    def setup(self, stage: str | None = None) -> None:
        if self.train is not None:
            return
        train, self.val, self.test = self.load()
        if self.limit_train is not None:
            train = train.take(torch.arange(min(self.limit_train, len(train))))
        self.train = train

    def split(self, name: str, count: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the first `count` items (all where None) of ``train``, ``val`` or ``test`` as batches hold them.

        Returns:
            [n, *D], and their labels [n] int64 or None.
        """
        self.setup()
        split: Split = getattr(self, name)
        return self.to_batch(split.data[:count]), None if split.labels is None else split.labels[:count]

    def fingerprint(self) -> dict[str, str]:
        """Return a short hash of each split's data and labels, for the run's record.

        Data whose items are indices, such as tokens, must also hash what these stand for.
        """
        self.setup()
        result = {}
        for name in ("train", "val", "test"):
            split: Split = getattr(self, name)
            digest = hashlib.blake2b(digest_size=16)
            digest.update(split.data.numpy().tobytes())
            if split.labels is not None:
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
        data, labels = split.data, split.labels
        if device.type == "cuda":  # the whole set lives on the device: 47 MB for MNIST
            data, labels = data.to(device), None if labels is None else labels.to(device)
        return Loader(
            data,
            labels,
            self.batch_size,
            shuffle,
            self.seed,
            self.trainer.global_rank,
            self.trainer.world_size,
            micro_batches,
            self.to_batch,
        )


def hold_out(pool: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Return (what is left, `count` items held out), chosen by `seed` alone."""
    order = permutation(len(pool), seed, "hold out")
    return pool.take(order[count:].sort().values), pool.take(order[:count].sort().values)
