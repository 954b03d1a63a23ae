"""The seam that every data set fills: splits in memory or on disk, batches, and their place."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from diffusion_lab import console
from diffusion_lab.data.loader import Loader, permutation
from diffusion_lab.data.reader import Reader
from diffusion_lab.data.split import Split, Stored, UnreadableItemsError
from diffusion_lab.machine.available_memory import available_memory
from diffusion_lab.noise import Noise
from diffusion_lab.vocabulary import Vocabulary

#: What ``in_memory: auto`` lets the splits take together of the memory that is available, over all processes.
MEMORY_SHARE = 0.25

#: What they may take of a GPU's memory; larger splits stay in the machine's.
GPU_MEMORY_SHARE = 0.25

#: How many items are read at a time where all of them are.
_CHUNK = 64

#: About how many bytes are hashed at a time.
_HASHED_AT_ONCE = 2**20


class DataModule(pl.LightningDataModule, ABC):
    """Data in memory, gathered a batch at a time; or on disk, read ahead by worker processes.

    A subclass says where the data comes from: `prepare_data` fetches and checks it, `load` opens it; `shape`,
    `num_classes` and `provides` are known before. Both ways give the same batches, bit for bit.

    Args:
        batch_size: of the global batch, over all processes and accumulated micro-batches.
        limit_train: train on the first so many items only; None for all.
        seed: of the order in which the items are seen, and of `augment`.
        in_memory: whether a `Stored` split is read into memory; ``auto``: if all splits together take at most
            `MEMORY_SHARE` of what is available.
        workers: how many processes read a `Stored` split; 0 for the run's own.

    Attributes:
        item: the word for one item of the data, as in "60,000 images".
        num_classes: how many labels there are; None for data without labels.
        vocabulary: what the tokens of an item stand for; None for data that is no text.
        processes: how many processes of this machine hold the data, each for itself.
        train, val, test: the splits, after `setup`.
    """

    item: str = "sample"
    num_classes: int | None = None
    vocabulary: Vocabulary | None = None
    processes: int = 1

    def __init__(
        self,
        batch_size: int,
        limit_train: int | None,
        seed: int,
        in_memory: Literal["auto"] | bool = "auto",
        workers: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"data.batch_size must be at least 1, got {batch_size}")
        if limit_train is not None and limit_train < 1:
            raise ValueError(f"data.limit_train must be at least 1 or null, got {limit_train}")
        if workers < 0:
            raise ValueError(f"data.workers must not be negative, got {workers}")
        self.batch_size = batch_size
        self.limit_train = limit_train
        self.seed = seed
        self.in_memory = in_memory
        self.workers = workers
        self.train: Split | None = None
        self.val: Split | None = None
        self.test: Split | None = None
        self._train_loader: Loader | None = None
        self._loaders: list[Loader] = []
        self._hashes: dict[str, str] | None = None
        self._place: dict[str, Any] = {}

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one item in a batch, as [C, H, W]."""

    @abstractmethod
    def load(self) -> tuple[Split, Split, Split]:
        """Return the training, validation and test split, which may be one and the same object."""

    def found(self) -> dict[str, Any]:
        """Return arguments of the constructor that it found out by itself, such as the names of classes.

        They are recorded with the run, so that it can be sampled from where the data is not.
        """
        return {}

    def provides(self) -> dict[str, Any]:
        """Return what constructors of other parts may ask for by name, such as the size of an image."""
        return {}

    def to_batch(self, stored: Tensor) -> Tensor:
        """Return stored items [n, *] as a batch holds them [n, *D]; by default unchanged."""
        return stored

    def augment(self, stored: Tensor, noise: Noise) -> Tensor:
        """Return stored items [n, *] of a training batch, changed at random by `noise`; by default unchanged."""
        return stored

    def hashed(self, stored: Tensor) -> Tensor:
        """Return stored items [n, *] in the form whose bytes are hashed; by default unchanged."""
        return stored

    def example(self) -> Tensor:
        """Return one item [1, *D] of zeros as a batch holds it, to try parts out before the data is there."""
        return self.to_batch(torch.zeros(1, *self.shape, dtype=torch.int64))

    def setup(self, stage: str | None = None) -> None:
        if self.train is not None:
            return
        train, val, test = self.load()
        if self.limit_train is not None:
            train = train.first(self.limit_train)
        splits = {id(split): split for split in (train, val, test)}
        if self._fits_in_memory(list(splits.values())):
            splits = {key: self._read_all(split, keep=True) for key, split in splits.items()}
        self.train, self.val, self.test = (splits[id(split)] for split in (train, val, test))

    def split(self, name: str, count: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the first `count` items (all where None) of ``train``, ``val`` or ``test`` as batches hold them.

        Returns:
            [n, *D], and their labels [n] int64 or None.
        """
        self.setup()
        split: Split = getattr(self, name)
        if count is not None:
            split = split.first(count)
        return self.to_batch(split.read()), split.labels

    def stream(self, name: str) -> Tensor:
        """Return all of ``train``, ``val`` or ``test``, [M], as it is stored; by default its items one after another.

        It is for data whose items are cut from one long sequence, such as a text.
        """
        self.setup()
        split: Split = getattr(self, name)
        return split.read().flatten()

    def fingerprint(self) -> dict[str, str]:
        """Return a short hash of each split's data and labels, for the run's record.

        Items on disk are read for it once, so that those that cannot be read are found. Data whose items are indices,
        such as tokens, must also hash what these stand for.

        Raises:
            UnreadableItemsError: naming items that cannot be read.
        """
        if self._hashes is None:
            self.setup()
            by_split: dict[int, str] = {}
            self._hashes = {}
            for name in ("train", "val", "test"):
                split: Split = getattr(self, name)
                if id(split) not in by_split:
                    by_split[id(split)] = self._hash(split)
                self._hashes[name] = by_split[id(split)]
        return self._hashes

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

    def teardown(self, stage: str | None = None) -> None:
        for loader in self._loaders:
            loader.close()
        self._loaders = []

    def on_exception(self, exception: BaseException) -> None:
        self.teardown()

    def _loader(self, split: Split, shuffle: bool, micro_batches: int = 1) -> Loader:
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        data, labels = split.data, split.labels
        if isinstance(data, Tensor) and device.type == "cuda":  # the whole set lives on the device: 47 MB for MNIST
            if data.nbytes <= GPU_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
                data = data.to(device)
            labels = None if labels is None else labels.to(device)
        loader = Loader(
            data,
            labels,
            self.batch_size,
            shuffle,
            self.seed,
            self.trainer.global_rank,
            self.trainer.world_size,
            micro_batches,
            self.to_batch,
            self.augment if shuffle else None,
            self.workers,
            device,
        )
        self._loaders.append(loader)
        return loader

    def _fits_in_memory(self, splits: list[Split]) -> bool:
        """Return whether splits that are on disk are to be read into memory."""
        if self.in_memory != "auto":
            return self.in_memory
        needed = sum(split.data.nbytes for split in splits if isinstance(split.data, Stored))
        return needed * self.processes <= MEMORY_SHARE * available_memory()

    def _read_all(self, split: Split, keep: bool) -> Split:
        """Read each item of a split on disk once; return the split with their hashes, and in memory if `keep`.

        Raises:
            UnreadableItemsError: naming items that cannot be read, and how many there are.
        """
        if not isinstance(split.data, Stored):
            return split
        count = len(split)
        console.current().note(f"reading {count:,} {self.item}s")
        items: Tensor | None = None
        hashes, broken = [], []
        chunks = torch.arange(count).split(_CHUNK)
        reader = Reader(split.data, self.workers, hashes=True)
        try:
            for rows, found in zip(chunks, reader.attempts(rows.tolist() for rows in chunks), strict=True):
                if isinstance(found, UnreadableItemsError):
                    broken += found.items
                    continue
                read, hashes_read = found
                hashes.append(hashes_read)
                if keep:
                    items = torch.empty(count, *read.shape[1:], dtype=read.dtype) if items is None else items
                    items[rows] = read
        finally:
            reader.close()
        if broken:
            raise UnreadableItemsError(broken, count)
        return Split(split.data if items is None else items, split.labels, torch.cat(hashes))

    def _hash(self, split: Split) -> str:
        digest = hashlib.blake2b(digest_size=16)
        split = self._read_all(split, keep=False) if split.hashes is None else split
        content = split.data if split.hashes is None else split.hashes
        assert isinstance(content, Tensor)
        rows = max(1, _HASHED_AT_ONCE * len(content) // max(1, content.nbytes))
        for part in content.split(rows):
            digest.update((part if content is split.hashes else self.hashed(part)).numpy().tobytes())
        if split.labels is not None:
            digest.update(split.labels.numpy().tobytes())
        return digest.hexdigest()


def hold_out(pool: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Return (what is left, `count` items held out), chosen by `seed` alone."""
    order = permutation(len(pool), seed, "hold out")
    return pool.take(order[count:].sort().values), pool.take(order[:count].sort().values)
