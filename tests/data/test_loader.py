from itertools import islice

import pytest
import torch

from diffusion_lab.data import Loader
from diffusion_lab.data.loader import permutation


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


def test_data_without_labels_has_none():
    (batch,) = Loader(torch.zeros(4, 2), None, 4, shuffle=True)
    assert batch.label is None
    assert batch.to(torch.device("cpu")).label is None


def test_moving_a_batch_keeps_all_that_it_says():
    (batch,) = loader(4, 4)
    moved = batch.to(torch.device("cpu"))
    assert seen([moved]) == seen([batch])
    assert torch.equal(moved.x, batch.x)
