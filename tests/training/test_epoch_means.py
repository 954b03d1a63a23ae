"""The sums of an epoch's terms, which a resumed run goes on with."""

from types import SimpleNamespace

import pytest
import torch

from diffusion_lab.training.epoch_means import EpochMeans


class Module(SimpleNamespace):
    """Keeps the means that it is given to log."""

    def __init__(self):
        super().__init__(device=torch.device("cpu"), logged={})

    def log(self, name, mean, **options):
        self.logged[name] = mean


def trainer(**more):
    return SimpleNamespace(**{"is_last_batch": True, "world_size": 1, "is_global_zero": True} | more)


def train(means, module, losses, weights=None):
    losses = torch.tensor(losses)
    outputs = {"terms": {"loss": losses}, "weight": torch.ones_like(losses) if weights is None else weights}
    means.on_train_batch_end(trainer(), module, outputs, SimpleNamespace(size=len(losses)), 0)


def saved(means, **more):
    checkpoint = {}
    means.on_save_checkpoint(trainer(**more), None, checkpoint)
    return checkpoint


def resumed(checkpoint, module, **more):
    means = EpochMeans()
    means.on_load_checkpoint(trainer(**more), module, checkpoint)
    return means


def test_a_resumed_epoch_goes_on_with_sums_in_double_precision():
    """Single precision would lose the ones beside the large number."""
    module, means = Module(), EpochMeans()
    train(means, module, [2.0**24, 1.0])
    train(means, module, [1.0])
    means = resumed(saved(means), module)
    train(means, module, [1.0, 6.0], weights=torch.tensor([1.0, 0.5]))
    assert saved(means) == {"epoch_means": {"loss": [2.0**24 + 6, 5.0]}}
    assert float(module.logged["train/loss_epoch"].compute()) == (2**24 + 6) / 5


@pytest.mark.parametrize(("last", "expected"), [(False, [3.0, 2.0]), (True, [0.0, 0.0])])
def test_the_sums_of_an_epoch_are_kept_if_it_ended_early_alone(last, expected):
    """The trainer resets what it has logged at an epoch's end."""
    module, means = Module(), EpochMeans()
    train(means, module, [1.0, 2.0])
    means.on_train_epoch_end(trainer(is_last_batch=last), module)
    module.logged["train/loss_epoch"].reset()
    assert saved(means) == {"epoch_means": {"loss": expected}}


@pytest.mark.parametrize(("first", "expected"), [(True, [7.0, 3.0]), (False, [4.0, 1.0])])
def test_one_process_alone_goes_on_with_the_sums_of_all(first, expected):
    module, means = Module(), EpochMeans()
    train(means, module, [1.0, 2.0])
    means = resumed(saved(means), module, is_global_zero=first)
    train(means, module, [4.0])
    assert saved(means) == {"epoch_means": {"loss": expected}}


def test_a_checkpoint_has_the_sums_of_all_processes():
    asked = []

    def reduce(total, reduce_op):
        asked.append(reduce_op)
        return total.mul_(2)  # which must not change the sums of this process

    module, means = Module(), EpochMeans()
    train(means, module, [1.0, 2.0])
    means.on_train_epoch_end(trainer(is_last_batch=False), module)
    several = {"world_size": 2, "strategy": SimpleNamespace(reduce=reduce)}
    for _ in range(2):
        assert saved(means, **several) == {"epoch_means": {"loss": [6.0, 4.0]}}
    assert asked == ["sum", "sum"]


def test_a_checkpoint_without_sums_is_one_of_an_epoch_that_begins():
    assert saved(resumed({}, Module())) == {"epoch_means": {}}
