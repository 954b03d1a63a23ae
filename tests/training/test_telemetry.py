"""Telemetry of a model of two weights, whose norms are computed by hand, on a clock that the test moves."""

import resource
import sys
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import nn

from conftest import Batches
from diffusion_lab.data import Batch
from diffusion_lab.training import telemetry
from diffusion_lab.training.telemetry import Telemetry

#: Lightning and its torch, about themselves.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")

NORMS = ("optimizer/learning_rate", "optimizer/gradient_norm", "optimizer/weight_norm")


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


class Rows(Logger):
    """What was logged, by step, as the trainer counts: from 0."""

    name, version = "rows", 0

    def __init__(self):
        super().__init__()
        self.rows = {}

    def log_metrics(self, metrics, step=None):
        self.rows.setdefault(step, {}).update(metrics)

    def log_hyperparams(self, params):
        pass


class Module(pl.LightningModule):
    """loss = 3 a + 4 b: the gradient is (3, 4) at every step. A step takes a second, a validation a hundred."""

    def __init__(self, clock):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([[2.0]]))
        self.clock = clock
        self.before = []

    def training_step(self, batch, batch_idx):
        self.clock.now += 1
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.before.append(float(torch.cat((self.a, self.b[0])).detach().norm()))
        return {"loss": 3 * self.a.sum() + 4 * self.b.sum()}

    def validation_step(self, batch, batch_idx):
        self.clock.now += 100

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Slow(pl.Callback):
    """What others do at an epoch's end takes a thousand seconds."""

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.clock.now += 1000


@pytest.fixture
def fitted(tmp_path, monkeypatch):
    def fit(batches=4, epochs=2, **arguments):
        clock, rows, watched = Clock(), Rows(), Telemetry()
        monkeypatch.setattr(telemetry, "time", clock)
        module = Module(clock)
        data = [Batch(torch.zeros(5, 1), torch.zeros(5), torch.arange(5), 0, i, 5) for i in range(batches)]
        arguments = {"max_epochs": epochs, "log_every_n_steps": 2, **arguments}
        trainer = pl.Trainer(
            accelerator="cpu", logger=rows, callbacks=[Slow(), watched], enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0,
            default_root_dir=tmp_path, **arguments,
        )  # fmt: skip
        trainer.fit(module, Batches(data), Batches(data[:1]))
        return {step: row for step, row in rows.rows.items() if NORMS[0] in row}, module, watched

    return fit


def test_rate_and_norms_are_those_of_the_step_at_logging_steps_only(fitted):
    rows, module, _ = fitted()
    assert list(rows) == [1, 3, 5, 7]
    for step, row in rows.items():
        assert row["optimizer/learning_rate"] == pytest.approx(0.1 / (step + 1))
        assert row["optimizer/gradient_norm"] == pytest.approx(5)
        assert row["optimizer/weight_norm"] == pytest.approx(module.before[step])
        assert row["memory/peak_MiB"] > 10
    assert module.before[1] != module.before[3]


def test_the_gradient_is_that_of_the_whole_batch_before_it_is_clipped(fitted):
    rows, module, _ = fitted(accumulate_grad_batches=2, gradient_clip_val=0.5)
    assert list(rows) == [1, 3]
    for step, row in rows.items():
        assert row["optimizer/gradient_norm"] == pytest.approx(5)
        assert row["optimizer/weight_norm"] == pytest.approx(module.before[step])
    assert module.before[0] - module.before[1] < 0.06  # it was clipped


def test_neither_validation_nor_what_others_do_between_epochs_counts_as_training_time(fitted):
    rows, _, watched = fitted(val_check_interval=3)
    assert [row["speed/samples_per_s"] for row in rows.values()] == [5.0] * 4
    assert (watched.seen, watched.seconds) == (40, 8.0)


def test_a_batch_in_parts_counts_once(fitted):
    rows, _, watched = fitted(accumulate_grad_batches=2)
    assert [row["speed/samples_per_s"] for row in rows.values()] == [2.5] * 2
    assert (watched.seen, watched.seconds) == (20, 8.0)


def test_an_epoch_that_is_cut_short_stops_the_clock(fitted):
    _, _, watched = fitted(batches=10, max_steps=3)
    assert (watched.seen, watched.seconds) == (15, 3.0)


def test_a_resumed_run_counts_on(fitted):
    _, _, watched = fitted()
    other = Telemetry()
    other.load_state_dict(watched.state_dict())
    assert (other.seen, other.seconds) == (40, 8.0)


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_peak_of_memory_is_in_mib_whatever_the_system_counts_in(monkeypatch, platform, unit):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3 * 2**20 // unit))
    assert telemetry._memory(torch.device("cpu")) == 3


def test_the_peak_of_memory_on_a_gpu_is_that_of_its_allocator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 * 2**20)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 7 * 2**20)
    assert telemetry._memory(torch.device("cuda")) == 5
    assert telemetry._memory(torch.device("mps")) == 7


def test_the_peak_on_a_gpu_is_that_of_this_training(monkeypatch):
    """An earlier run of a sweep may have needed more."""
    asked = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    for kind in ("cuda", "cpu"):
        device = torch.device(kind)
        Telemetry().on_train_start(SimpleNamespace(global_step=0, datamodule=None), SimpleNamespace(device=device))
    assert asked == [torch.device("cuda")]


def test_a_device_that_computes_by_itself_is_waited_for_before_the_clock_is_read(monkeypatch):
    """At logging steps and before a validation; the speed is told in the items of the data."""
    clock, watched, waited, logged = Clock(), Telemetry(), [], {}

    def synchronize(device):
        waited.append(device.type)
        clock.now += 4

    monkeypatch.setattr(telemetry, "time", clock)
    monkeypatch.setattr(torch.accelerator, "synchronize", synchronize)
    module = SimpleNamespace(
        device=torch.device("meta"), log=lambda name, value, **how: logged.update({name: (value, how)})
    )
    run = SimpleNamespace(
        global_step=0, max_steps=-1, is_last_batch=False, log_every_n_steps=2, datamodule=SimpleNamespace(item="token")
    )
    watched.on_train_start(run, module)
    watched.on_train_epoch_start(run, module)
    for step in (1, 2):
        clock.now += 1
        run.global_step = step
        watched.on_train_batch_end(run, module, None, SimpleNamespace(size=30), 0)
        assert len(waited) == step // 2
    assert logged["speed/tokens_per_s"] == (60 / 6, {})
    assert logged["memory/peak_MiB"][1] == {"reduce_fx": "max", "sync_dist": True}  # the largest of all processes
    for _ in range(2):
        watched.on_validation_start(run, module)
    assert waited == ["meta"] * 2
    assert watched.seconds == 10
