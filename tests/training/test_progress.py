"""What people and programs are told of an epoch, and when."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from diffusion_lab import console
from diffusion_lab.training import progress as progress_module
from diffusion_lab.training.progress import RunProgress
from diffusion_lab.training.time_estimate import Estimate


class Listening(console.Console):
    """Keeps what it is told; draws bars if it is to."""

    bar = False

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
    assert [data["seconds"] for _, data in said.of("epoch")] == [6.0] * 5
    assert [data["images_per_second"] for _, data in said.of("epoch")] == [4 * 32 / 6.0] * 5


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


@pytest.mark.parametrize(
    ("seconds", "count", "rate"), [(0.5, 400, "2"), (0.4, 400, "2.5"), (1 / 1024, 2500, "1,024"), (12.0, 9, "0.0833")]
)
def test_an_estimate_is_given_once(said, clock, seconds, count, rate):
    progress, run = RunProgress(bar=False), trainer(estimated_stepping_batches=10_000)
    progress.on_train_start(run, None)
    for _ in range(count):
        clock.seconds += seconds
        batches(progress, run, 1, size=1)
    ((text, data),) = said.of("estimate")
    assert text == f"about {console.duration(data['seconds'])} to train ({rate} steps/s)"
    assert data["steps_per_second"] == pytest.approx(1 / seconds)
    assert data["seconds"] == pytest.approx(10_000 * seconds, rel=0.01)


@pytest.fixture
def drawings(said, clock, capsys, monkeypatch):
    """A function that returns what the bar has drawn; it draws nothing by its own clock within the test."""
    said.bar = True
    clock.seconds = 5000.0
    monkeypatch.delenv("COLUMNS", raising=False)
    return lambda: capsys.readouterr().err.split("\r")[1:]


@pytest.mark.parametrize(
    ("more", "begun", "first", "second"),
    [
        ({}, "10/40", ("epoch 1/3: ", "11/40"), ("epoch 1/3: ", "13/40")),
        (
            {"estimated_stepping_batches": math.inf, "max_epochs": -1},
            "10step",
            ("epoch 1: ", "11step"),
            ("epoch 1: ", "13step"),
        ),
    ],
)
def test_the_bar_is_drawn_every_few_seconds_and_at_the_end(drawings, clock, more, begun, first, second):
    progress, run = RunProgress(refresh_seconds=1000.0), trainer(global_step=10, **more)
    progress.on_train_start(run, None)
    for seconds in (2.0, 999.0, 1.0, 999.0):
        clock.seconds += seconds
        batches(progress, run, 1, size=334)
    progress.on_train_end(run, None)
    drawn = drawings()
    assert len(drawn) == 4
    assert begun in drawn[0]
    for drawing, parts, speed in zip(drawn[1:3], (first, second), ("167", "1"), strict=True):
        assert all(part in drawing for part in (*parts, f", loss 0.2500, {speed} images/s]"))
    assert drawn[3].endswith("\n")
    batches(progress, run, 1)
    progress.on_train_end(run, None)
    assert drawings() == []


def test_the_bar_of_a_run_that_fails_is_left_behind_whole(drawings):
    progress, run = RunProgress(), trainer()
    progress.on_train_start(run, None)
    progress.on_exception(run, None, KeyboardInterrupt())
    assert drawings()[-1].endswith("\n")


@pytest.mark.parametrize(
    ("asked", "shown", "first"), [(True, True, True), (False, True, True), (True, False, True), (True, True, False)]
)
def test_a_bar_is_drawn_if_it_is_asked_for_and_seen_and_by_the_first_process(said, drawings, asked, shown, first):
    said.bar = shown
    progress = RunProgress(bar=asked)
    progress.on_train_start(trainer(is_global_zero=first), None)
    assert bool(drawings()) == (asked and shown and first)
    progress.on_train_end(None, None)
