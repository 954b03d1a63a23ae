"""Work every few epochs: after which of them, by which process, and with which weights."""

import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from diffusion_lab.errors import RunInterrupted
from diffusion_lab.training.ema import EMA
from diffusion_lab.training.epoch_interval import EpochInterval, stop_if_requested
from diffusion_lab.training.graceful_interrupt import GracefulInterrupt


class Work(EpochInterval):
    """Remembers when it was done."""

    def __init__(self, every_n_epochs):
        super().__init__(every_n_epochs)
        self.done = []

    def act(self, trainer, epoch, step):
        self.done.append((epoch, step))


def trainer(**more):
    usual = {"current_epoch": 0, "global_step": 0, "max_epochs": -1, "max_steps": -1}
    return SimpleNamespace(**usual | {"is_global_zero": True, "callbacks": [], "strategy": None} | more)


def trained(work, epochs, **more):
    """When work was done in so many epochs of four steps."""
    for epoch in range(epochs):
        work.on_train_epoch_end(trainer(current_epoch=epoch, global_step=4 * epoch + 4, **more), nn.Linear(1, 1))
    return work.done


@pytest.mark.parametrize(
    ("every", "more", "expected"),
    [
        (1, {}, [1, 2, 3, 4, 5, 6]),
        (2, {}, [2, 4, 6]),
        (3, {}, [3, 6]),
        (0, {}, []),
        (2, {"max_epochs": 6}, [2, 4]),
        (2, {"max_steps": 24}, [2, 4]),
        (2, {"max_epochs": 7, "max_steps": 25}, [2, 4, 6]),
        (1, {"is_global_zero": False}, []),
    ],
)
def test_work_is_done_by_the_first_process_after_every_few_epochs_but_the_last(every, more, expected):
    assert trained(Work(every), 6, **more) == [(epoch, 4 * epoch) for epoch in expected]


@pytest.mark.parametrize("stopped", [False, True])
def test_the_average_is_in_place_for_the_work_alone(stopped):
    """Even if the work is left where a stop is asked for, which the interrupt's own hook makes."""
    module, average = nn.Linear(1, 1, bias=False), EMA(0.5)
    torch.nn.init.constant_(module.weight, 1.0)
    run = trainer(callbacks=[average])
    average.on_train_start(run, module)
    torch.nn.init.constant_(module.weight, 2.0)
    seen = []

    class Look(Work):
        def act(self, trainer, epoch, step):
            seen.append(float(module.weight.detach()))
            if stopped:
                raise RunInterrupted

    Look(1).on_train_epoch_end(run, module)
    assert seen == [1.0]
    assert float(module.weight.detach()) == 2.0


def test_work_is_stopped_once_a_stop_is_requested():
    interrupt = GracefulInterrupt()
    check = stop_if_requested(trainer(callbacks=[object(), interrupt]))
    check(None)
    interrupt.requested = signal.SIGTERM
    with pytest.raises(RunInterrupted):
        check(None)
