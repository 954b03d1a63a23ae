"""What people and programs are told of an epoch, and when."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from diffusion_lab import console
from diffusion_lab.training import progress as progress_module
from diffusion_lab.training.progress import RunProgress
from diffusion_lab.training.time_estimate import Estimate


class Listening(console.Console):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.events = []

    def event(self, name, text, /, **data):
        self.events.append((name, text, data))

    def of(self, kind):
        return [(text, data) for name, text, data in self.events if name == kind]


@pytest.fixture
def said(monkeypatch):
    told = Listening()
    monkeypatch.setattr(console, "current", lambda: told)
    return told


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr("time.monotonic", lambda: now.seconds)
    monkeypatch.setattr(progress_module, "Estimate", partial(Estimate, clock=lambda: now.seconds))
    return now


def trainer(**more):
    usual = {
        "is_global_zero": True, "world_size": 1, "current_epoch": 0, "global_step": 0, "max_epochs": 3,
        "estimated_stepping_batches": 40, "sanity_checking": False, "datamodule": SimpleNamespace(item="image"),
        "callback_metrics": {"train/loss_epoch": torch.tensor(0.25), "val/loss": torch.tensor(0.5)},
    }  # fmt: skip
    return SimpleNamespace(**usual | more)


def batches(progress, run, count, size=32):
    for _ in range(count):
        run.global_step += 1
        progress.on_train_batch_end(run, None, {"loss": torch.tensor(0.25)}, SimpleNamespace(x=torch.zeros(size, 1)), 0)


def epoch(progress, run, clock, seconds, count=4, validated=False):
    progress.on_train_epoch_start(run, None)
    batches(progress, run, count)
    if validated:
        progress.on_validation_end(run, None)
    clock.seconds += seconds
    progress.on_train_epoch_end(run, None)
    run.current_epoch += 1


def test_a_line_says_the_losses_the_speed_and_the_time_of_an_epoch(said, clock):
    progress, run = RunProgress(bar=False), trainer()
    progress.on_train_start(run, None)
    epoch(progress, run, clock, 2.0, validated=True)
    ((line, data),) = said.of("epoch")
    assert line == "epoch 1/3  train 0.2500  val 0.5000  64 images/s  2 s"
    assert data == {
        "epoch": 1, "step": 4, "train/loss": 0.25, "val/loss": 0.5, "images_per_second": 64.0, "seconds": 2.0,
    }  # fmt: skip


def test_people_get_a_line_for_each_validation_and_else_every_ten_seconds_and_programs_for_each_epoch(said, clock):
    progress, run = RunProgress(bar=False), trainer(max_epochs=-1)
    progress.on_train_start(run, None)
    for validated in (False, False, True, False, False):
        epoch(progress, run, clock, 6.0, validated=validated)
    lines = [line for line, _ in said.of("epoch")]
    assert [line is not None for line in lines] == [True, False, True, False, True]
    assert lines[0].startswith("epoch 1  train 0.2500  21 images/s")
    assert [data["epoch"] for _, data in said.of("epoch")] == [1, 2, 3, 4, 5]
    assert ["val/loss" in data for _, data in said.of("epoch")] == [False, False, True, False, False]


def test_a_validation_before_training_is_none_of_an_epoch(said, clock):
    progress, run = RunProgress(bar=False), trainer(sanity_checking=True)
    progress.on_train_start(run, None)
    epoch(progress, run, clock, 1.0, validated=True)
    assert "val/loss" not in said.of("epoch")[0][1]


def test_the_speed_is_that_of_all_processes(said, clock):
    progress, run = RunProgress(bar=False), trainer(world_size=4)
    progress.on_train_start(run, None)
    epoch(progress, run, clock, 2.0)
    assert said.of("epoch")[0][1]["images_per_second"] == 4 * 64


def test_an_epoch_that_is_resumed_in_its_middle_is_counted_from_there(said, clock):
    """Lightning does not tell that it begins."""
    progress, run = RunProgress(bar=False), trainer(global_step=10)
    progress.on_train_start(run, None)
    batches(progress, run, 2)
    clock.seconds += 4.0
    progress.on_train_epoch_end(run, None)
    assert said.of("epoch")[0][1]["images_per_second"] == 16.0


def test_processes_but_the_first_say_nothing(said, clock):
    progress, run = RunProgress(), trainer(is_global_zero=False)
    progress.on_train_start(run, None)
    epoch(progress, run, clock, 100.0, count=60, validated=True)
    progress.on_train_end(run, None)
    assert said.events == []


def test_an_estimate_is_given_once(said, clock):
    progress, run = RunProgress(bar=False), trainer(estimated_stepping_batches=10_000)
    progress.on_train_start(run, None)
    for _ in range(400):
        clock.seconds += 0.5
        batches(progress, run, 1)
    ((text, data),) = said.of("estimate")
    assert text.endswith("to train (2 steps/s)")
    assert data["steps_per_second"] == pytest.approx(2)
    assert data["seconds"] == pytest.approx(5000, rel=0.01)
