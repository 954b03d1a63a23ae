"""What every kind of data has in common, and its place in a run of Lightning's trainer."""

import hashlib
import os
import re

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from diffusion_lab.data import DataModule, Split, Stored
from diffusion_lab.data.split import hash_rows

# Lightning uses what PyTorch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


class OnDisk(Stored):
    """Numbers, each beside the id of the process that read it; `reads` are those of this process."""

    nbytes = 0

    def __init__(self, rows, reads):
        self.rows, self.reads = rows, reads

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, rows):
        return OnDisk(self.rows[rows], self.reads)

    def read(self):
        self.reads.append(self.rows.tolist())
        return torch.stack([self.rows, torch.full_like(self.rows, os.getpid())], dim=1)


class Numbers(DataModule):
    shape = (2,)

    def __init__(self, batch_size=4, limit_train=None, seed=0, **options):
        super().__init__(batch_size, limit_train, seed, **options)
        self.reads = []

    def load(self):
        train, test = (Split(OnDisk(torch.arange(size), self.reads)) for size in (10, 3))
        return train, test, test


class Seen(pl.LightningModule):
    """Keeps what it sees, and the place that the data would be saved with while it does."""

    def __init__(self, data):
        super().__init__()
        self.data, self.weight = data, nn.Parameter(torch.zeros(()))
        self.trained, self.validated, self.places = [], [], []

    def training_step(self, batch, index):
        self.trained.append(batch)
        self.places.append(self.data.state_dict())
        return 0 * self.weight

    def validation_step(self, batch, index):
        self.validated.append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def trainer(folder, **options):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder, **{"max_epochs": 2} | options,
    )  # fmt: skip


def fitted(folder, data, **options):
    module = Seen(data)
    trainer(folder, **options).fit(module, datamodule=data)
    return module


def order(batches):
    return [batch.x[:, 0].tolist() for batch in batches]


def test_before_a_run_there_is_no_place():
    data = Numbers()
    assert data.state_dict() == {}


def test_the_place_in_a_run_is_that_of_the_batch_to_come(tmp_path):
    """While a step is taken, its own batch is to come again."""
    module = fitted(tmp_path, data := Numbers())
    assert [(batch.epoch, batch.index) for batch in module.trained] == [(e, i) for e in range(2) for i in range(3)]
    assert module.places == [{"epoch": e, "yielded": i} for e in range(2) for i in range(3)]
    assert data.state_dict() == {"epoch": 2, "yielded": 0}
    data.trainer = None
    assert data.state_dict() == {}
    assert order(module.validated) == [[0, 1, 2]] * 2
    numbers = [number for part in order(module.trained) for number in part]
    assert sorted(numbers[:10]) == sorted(numbers[10:]) == list(range(10))


def test_an_epoch_of_fewer_batches_ends_with_them(tmp_path):
    module = fitted(tmp_path, data := Numbers(), limit_train_batches=2)
    assert module.places == [{"epoch": e, "yielded": i} for e in range(2) for i in range(2)]
    assert data.state_dict() == {"epoch": 2, "yielded": 0}


def test_a_run_goes_on_from_its_place(tmp_path):
    whole = fitted(tmp_path, Numbers())
    data = Numbers()
    data.load_state_dict({"epoch": 1, "yielded": 1})
    assert order(fitted(tmp_path, data, max_epochs=1).trained) == order(whole.trained)[4:]


def test_a_batch_is_cut_into_at_most_as_many_parts_as_it_has_items(tmp_path):
    assert [len(batch.x) for batch in fitted(tmp_path, Numbers(), accumulate_grad_batches=4).trained[:8]] == [1] * 8
    for options in ({"batch_size": 3}, {"batch_size": 10, "limit_train": 3}):
        with pytest.raises(ValueError, match=r"data\.batch_size=.* cannot be cut into 4 parts"):
            fitted(tmp_path, Numbers(**options), accumulate_grad_batches=4)


def test_items_are_read_by_the_run_itself_where_nothing_is_said():
    data = Numbers(in_memory=True)
    data.setup()
    assert data.train.data.tolist() == [[n, os.getpid()] for n in range(10)]


def test_items_on_disk_are_read_once_for_the_fingerprint():
    """Those of a split that is two at once are not read again either."""
    data = Numbers(in_memory=False)
    first = data.fingerprint()
    assert data.fingerprint() == first
    assert data.reads == [list(range(10)), [0, 1, 2]]
    assert first["val"] == first["test"] != first["train"]
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in first.values())


def test_an_example_is_of_whole_numbers_as_what_is_stored():
    class Marked(Numbers):
        def to_batch(self, stored):
            return nn.functional.one_hot(stored, 3)

    assert Marked().example().tolist() == [[[1, 0, 0], [1, 0, 0]]]
    assert Numbers().example().dtype == torch.int64


@pytest.mark.parametrize("key", ["batch_size", "limit_train"])
def test_no_items_are_refused_and_one_is_not(key):
    assert getattr(Numbers(**{key: 1}), key) == 1
    with pytest.raises(ValueError, match=rf"data\.{key} must be at least 1"):
        Numbers(**{key: 0})


def test_the_hash_of_an_item_has_16_bytes_and_is_blake2b_of_what_it_holds():
    """Fingerprints that runs have recorded are made of them."""
    items = [bytes([1, 2]), b"", bytes([3])]
    expected = [list(hashlib.blake2b(item, digest_size=16).digest()) for item in items]
    assert hash_rows(items).tolist() == expected
