import multiprocessing
import os
import select
import signal
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusion_lab.data import Loader, Stored
from diffusion_lab.data.loader import permutation
from diffusion_lab.errors import LabError
from pretended_device import There, pretended_device


def loader(size=23, batch_size=5, shuffle=True, **options):
    """Data in which x and label name their row."""
    rows = torch.arange(size)
    return Loader(rows.float()[:, None], rows, batch_size, shuffle, **options)


def loader_at(epoch):
    there = loader()
    there.epoch = epoch
    return there


def seen(batches):
    """What tells one sequence of batches from another."""
    return [(b.epoch, b.index, b.size, b.row.tolist(), b.label.tolist()) for b in batches]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("size", [20, 23, 3])
def test_an_epoch_has_every_row_exactly_once(size, shuffle):
    batches = list(loader(size, shuffle=shuffle))
    labels = torch.cat([b.label for b in batches])
    assert sorted(labels.tolist()) == list(range(size))
    assert all(torch.equal(b.x[:, 0], b.label.float()) for b in batches)
    assert [b.size for b in batches] == [len(b.x) for b in batches]
    assert [b.index for b in batches] == list(range(-(-size // 5)))


def test_a_permutation_never_changes():
    assert permutation(8, 42, "epoch", 3).tolist() == [5, 4, 3, 6, 2, 1, 7, 0]
    assert permutation(8, 0, "hold out").tolist() == [1, 4, 7, 3, 6, 0, 5, 2]


def test_the_order_is_a_function_of_seed_and_epoch():
    a, b = loader(seed=3), loader(seed=3)
    epochs = [seen(a) for _ in range(3)]
    torch.manual_seed(99)
    torch.rand(7)  # the global generator has no say
    assert [seen(b) for _ in range(3)] == epochs
    later = loader(seed=3)
    later.epoch = 2
    assert seen(later) == epochs[2]

    def order(epoch):
        return [label for *_, labels in epoch for label in labels]

    orders = [order(epoch) for epoch in (*epochs, seen(loader(seed=4)))]
    assert len({tuple(o) for o in orders}) == 4
    assert list(range(23)) not in orders


def test_without_shuffling_rows_keep_their_place_in_every_epoch():
    plain = loader(shuffle=False)
    for epoch in range(2):
        batches = list(plain)
        assert [b.epoch for b in batches] == [epoch] * 5
        for values in ([b.label for b in batches], [b.row for b in batches]):
            assert torch.cat(values).tolist() == list(range(23))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("size", "batch_size"), [(24, 8), (23, 5), (40, 11), (22, 7)])
@pytest.mark.parametrize(("ranks", "micro_batches"), [(1, 3), (2, 1), (2, 2), (3, 1), (4, 1)])
def test_the_parts_put_together_are_the_batch_of_a_single_process(size, batch_size, ranks, micro_batches, shuffle):
    parts = ranks * micro_batches
    whole = [b for b in loader(size, batch_size, shuffle, seed=1) if b.size >= parts]
    assert any(len(b.x) % parts for b in whole) or size == 24
    loaders = [
        loader(size, batch_size, shuffle, seed=1, rank=rank, ranks=ranks, micro_batches=micro_batches)
        for rank in range(ranks)
    ]
    of_rank = [list(part) for part in loaders]
    assert [len(batches) for batches in of_rank] == [len(part) for part in loaders]
    assert [len(batches) for batches in of_rank] == [len(whole) * micro_batches] * ranks
    for i, expected in enumerate(whole):
        found = [b for batches in of_rank for b in batches[i * micro_batches : (i + 1) * micro_batches]]
        for name in ("x", "label", "row"):
            assert torch.equal(torch.cat([getattr(b, name) for b in found]), getattr(expected, name))
        assert {(b.epoch, b.index, b.size) for b in found} == {(0, expected.index, len(expected.x))}
        lengths = [len(b.x) for b in found]
        assert min(lengths) >= 1
        assert max(lengths) - min(lengths) <= 1


def test_row_numbers_are_places_in_the_batch_in_training_and_places_in_the_split_without_shuffling():
    *_, last = loader(23, 5, shuffle=True, ranks=2, rank=1)
    assert (last.index, last.size, last.row.tolist()) == (4, 3, [1, 2])
    *_, last = loader(23, 5, shuffle=False, ranks=2, rank=1)
    assert (last.index, last.size, last.row.tolist()) == (4, 3, [21, 22])


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_a_last_batch_with_fewer_samples_than_parts_is_left_out_by_every_rank(rank):
    batches = list(loader(23, 5, ranks=4, rank=rank))
    assert [b.index for b in batches] == [0, 1, 2, 3]
    assert [b.size for b in batches] == [5] * 4


@pytest.mark.parametrize("size", [5, 12])
def test_where_every_batch_has_fewer_samples_than_parts_there_is_none(size):
    few = loader(size, 5, ranks=6)
    assert len(few) == 0
    assert list(few) == []


@pytest.mark.parametrize("options", [{}, {"ranks": 2, "rank": 1, "micro_batches": 2}])
@pytest.mark.parametrize("yielded", [1, 2, 4])
def test_a_resumed_loader_yields_what_remains_of_the_epoch_and_then_the_next(yielded, options):
    size, batch_size = 24, 5
    first = loader(size, batch_size, seed=6, **options)
    list(first)  # epoch 0
    running = iter(first)
    list(islice(running, yielded))
    state = first.state_dict()
    remaining = seen(running)
    after = seen(first)
    assert remaining
    assert {epoch for epoch, *_ in after} == {2}

    resumed = loader(size, batch_size, seed=6, **options)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert seen(resumed) == remaining
    assert seen(resumed) == after


def test_the_state_after_the_last_batch_is_the_start_of_the_next_epoch():
    """A checkpoint at the end of an epoch is written while the generator still waits at its last batch."""
    first = loader()
    running = iter(first)
    list(islice(running, len(first)))
    resumed = loader()
    resumed.load_state_dict(first.state_dict())
    assert seen(resumed) == seen(loader_at(1))
    assert seen(running) == []  # and asking for the state has not moved the one that was asked
    assert seen(first) == seen(loader_at(1))


def test_an_iterator_that_is_made_and_dropped_moves_nothing():
    moved = loader()
    before = moved.state_dict()
    for _ in range(3):
        iter(moved)
    assert moved.state_dict() == before
    assert seen(moved) == seen(loader())

    resumed = loader()
    resumed.load_state_dict({"epoch": 2, "yielded": 3})
    iter(resumed)
    assert seen(resumed) == seen(loader_at(2))[3:]


def test_an_epoch_cut_short_is_followed_by_the_next():
    cut = loader()
    assert seen(islice(cut, 2)) == seen(loader())[:2]
    assert seen(cut) == seen(loader_at(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_data_is_left_in_its_own_dtype(dtype):
    """Token ids 3, 7 and 255 are no pixels, even where they are stored as bytes."""
    x = torch.tensor([[3, 7], [255, 0], [1, 2]]).to(dtype)
    (batch,) = Loader(x, torch.arange(3), 3, shuffle=False)
    assert batch.x.dtype == dtype
    assert torch.equal(batch.x, x)


def test_the_data_module_says_what_becomes_of_stored_items():
    x = torch.arange(6, dtype=torch.uint8)[:, None]
    (batch,) = Loader(x, None, 6, shuffle=False, to_batch=lambda stored: stored.double() * 2)
    assert torch.equal(batch.x, x.double() * 2)
    assert x.flatten().tolist() == list(range(6))


@dataclass(frozen=True)
class Tokens(Stored):
    """Sequences of a file that is mapped into memory only where it is read: [N, 4] uint16."""

    path: Path
    rows: Tensor

    def __len__(self):
        return len(self.rows)

    @property
    def nbytes(self):
        return 8 * len(self)

    def __getitem__(self, rows):
        return Tokens(self.path, self.rows[rows])

    def read(self):
        return torch.from_numpy(np.memmap(self.path, np.uint16, "r").reshape(-1, 4)[self.rows.numpy()].astype(np.int64))


@pytest.mark.parametrize("workers", [0, 2])
def test_any_kind_of_items_can_lie_on_disk(tmp_path, workers):
    tokens = torch.randint(0, 60_000, (23, 4), generator=torch.Generator().manual_seed(0))
    tokens.numpy().astype(np.uint16).tofile(tmp_path / "tokens")
    stored = Tokens(tmp_path / "tokens", torch.arange(23))
    options = {"shuffle": True, "seed": 3, "augment": lambda x, noise: x + (noise.uniform((4,)) < 0.5)}
    held, disk = Loader(tokens, None, 5, **options), Loader(stored, None, 5, workers=workers, **options)
    state = torch.get_rng_state()
    try:
        for _ in range(2):
            for one, other in zip(held, disk, strict=True):
                assert torch.equal(one.x, other.x)
                assert torch.equal(one.row, other.row)
    finally:
        disk.close()
    assert torch.equal(torch.get_rng_state(), state)
    _, hashes = stored[torch.tensor([4, 5, 4])].read_with_hashes()
    assert torch.equal(hashes[0], hashes[2])
    assert not torch.equal(hashes[0], hashes[1])


@pytest.fixture
def numbers(tmp_path):
    """A loader of the numbers from 0 to 399, in batches of eight, that two processes read."""
    np.arange(400, dtype=np.uint16).tofile(tmp_path / "tokens")
    loader = Loader(Tokens(tmp_path / "tokens", torch.arange(100)), None, 2, shuffle=False, workers=2)
    yield loader
    loader.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_readers_outlive_a_signal_to_all_processes_and_end_when_they_are_closed(numbers, number):
    """The run finishes its step, for which it may need another batch."""
    batches = iter(numbers)
    next(batches)
    readers = multiprocessing.active_children()
    assert len(readers) == 2
    for reader in readers:
        os.kill(reader.pid, number)
    assert torch.cat([batch.x for batch in batches]).flatten().tolist() == list(range(8, 400))
    numbers.close()
    assert multiprocessing.active_children() == []


def test_a_reader_that_is_lost_is_said_in_one_line(numbers, monkeypatch):
    """Torch raises this when it misses one of its processes."""

    class Lost:
        _iterator = None

        def __iter__(self):
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. \nIt may be out of memory.")

    monkeypatch.setattr(numbers._reader, "_loader", Lost())
    with pytest.raises(LabError, match=r"^a process that reads the data was lost .*data\.workers=0") as caught:
        next(iter(numbers))
    assert "\n" not in str(caught.value)


def test_data_without_labels_has_none():
    (batch,) = Loader(torch.zeros(4, 2), None, 4, shuffle=True)
    assert batch.label is None
    assert batch.to(torch.device("cpu")).label is None


def test_moving_a_batch_keeps_all_that_it_says():
    (batch,) = loader(4, 4)
    moved = batch.to(torch.device("cpu"))
    assert seen([moved]) == seen([batch])
    assert torch.equal(moved.x, batch.x)


def test_a_reader_that_was_asked_to_end_does_so_when_the_run_has_had_its_time(numbers, monkeypatch):
    monkeypatch.setattr("diffusion_lab.data.reader._SECONDS_AFTER_SIGTERM", 1)
    batches = iter(numbers)
    next(batches)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGTERM)
    with pytest.raises(RuntimeError, match=r"killed by signal: Alarm"):  # torch says so at once
        time.sleep(20)


class Stuck(Tokens):
    """The first can be read, and others take for ever, as where a disk hangs."""

    def __getitem__(self, rows):
        return Stuck(self.path, self.rows[rows])

    def read(self):
        if self.rows.any():
            time.sleep(60)
        return self.rows[:, None]


def test_a_reader_ends_with_a_run_that_was_killed_even_while_it_reads():
    """It holds the end of a pipe as long as it lives."""
    end, of_run = os.pipe()

    def run():
        loader = Loader(Stuck(Path(), torch.arange(2)), None, 1, shuffle=False, workers=1)
        batches = iter(loader)
        next(batches)
        os.write(of_run, b"read")
        time.sleep(60)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    os.close(of_run)
    assert os.read(end, 4) == b"read"
    process.kill()
    process.join()
    assert select.select([end], [], [], 20)[0]
    assert os.read(end, 4) == b""
    os.close(end)


def test_batches_are_made_on_the_device_to_which_they_go():
    x, labels = torch.arange(12).reshape(6, 2), torch.arange(6)
    order = [batch.label.tolist() for batch in Loader(x, labels, 2, shuffle=True)]
    made = []

    def noted(stored, noise):
        made.append((stored, noise.rows))
        return stored

    with pretended_device() as device:
        batches = list(Loader(x, labels, 2, shuffle=True, augment=noted, device=device))
        assert all(isinstance(tensor, There) for both in made for tensor in both)
        assert [batch.x[:, 0].tolist() for batch in batches] == [[2 * row for row in rows] for rows in order]
