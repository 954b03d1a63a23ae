"""The file with the loss of every step."""

import csv
import os
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.runs.train import train
from diffusion_lab.training import step_losses
from diffusion_lab.training.step_losses import FILE, LossLedger, read_step_losses, write_step_losses


class Losses(pl.Callback):
    """The loss whose gradient each step followed, summed over its parts in double precision."""

    def __init__(self):
        self.parts, self.of_step = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.parts.append(outputs["terms"]["loss"].double())
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            losses = np.concatenate([part.numpy() for part in self.parts])
            assert len(losses) == batch.size
            self.of_step.append(losses.mean())
            self.parts = []


@pytest.mark.parametrize(("parts", "buffered"), [(1, 1024), (3, 3)])
def test_it_holds_the_mean_loss_of_each_step_s_global_batch(tiny, monkeypatch, parts, buffered):
    monkeypatch.setattr(step_losses, "_BUFFERED", buffered)
    seen = Losses()
    folder = train(
        tiny(f"trainer.accumulate_grad_batches={parts}", "trainer.log_every_n_steps=3"), [], callbacks=[seen]
    )
    losses = read_step_losses(folder.path)
    assert len(losses) == 8
    assert losses.dtype == np.float32
    np.testing.assert_allclose(losses, seen.of_step, rtol=1e-5)
    with (folder.path / "csv" / "metrics.csv").open() as file:
        logged = {
            int(row["step"]): float(row["train/loss_step"]) for row in csv.DictReader(file) if row["train/loss_step"]
        }
    assert logged
    for step, loss in logged.items():
        assert np.float32(loss) == losses[step]


def test_what_is_written_again_replaces_what_was_there(tmp_path):
    write_step_losses(tmp_path, 0, np.arange(6, dtype=np.float32))
    write_step_losses(tmp_path, 3, np.array([7, 8], np.float32))
    assert read_step_losses(tmp_path).tolist() == [0, 1, 2, 7, 8]
    write_step_losses(tmp_path, 0, np.arange(20, dtype=np.float32))
    write_step_losses(tmp_path, 10, np.array([7], np.float32))
    assert read_step_losses(tmp_path).tolist() == [*range(10), 7]


def test_steps_that_are_not_known_are_nan_and_half_a_number_is_none(tmp_path):
    assert read_step_losses(tmp_path).tolist() == []
    write_step_losses(tmp_path, 2, np.array([1], np.float32))
    assert np.isnan(read_step_losses(tmp_path)[:2]).all()
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"\x00\x00")
    assert len(read_step_losses(tmp_path)) == 3
    write_step_losses(tmp_path, 3, np.array([5], np.float32))
    assert read_step_losses(tmp_path)[2:].tolist() == [1, 5]
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"\x00\x00\x00")
    write_step_losses(tmp_path, 7, np.array([9], np.float64))
    assert str(read_step_losses(tmp_path)[2:].tolist()) == "[1.0, 5.0, nan, nan, nan, 9.0]"


def test_losses_are_on_the_disk_when_they_are_written(tmp_path, monkeypatch):
    """A checkpoint may be written next, from which a run would not write them again."""
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_size))
    write_step_losses(tmp_path, 0, np.arange(6, dtype=np.float32))
    assert flushed == [24]


def test_lost_steps_are_nan_behind_those_that_are_known_and_nothing_else_is(tmp_path):
    """After a resume from a later state than the file holds."""
    write_step_losses(tmp_path, 0, np.array([1, 2], np.float32))
    write_step_losses(tmp_path, 5, np.array([6, 7], np.float32))
    losses = read_step_losses(tmp_path)
    assert losses[[0, 1, 5, 6]].tolist() == [1, 2, 6, 7]
    assert np.isnan(losses[2:5]).all()
    assert len(losses) == 7


def trainer(folder, **more):
    usual = {"global_step": 0, "world_size": 1, "is_global_zero": True, "default_root_dir": str(folder)}
    return SimpleNamespace(**usual | more)


def begun(run):
    ledger = LossLedger()
    ledger.on_train_start(run, SimpleNamespace(device=torch.device("cpu")))
    return ledger


def step(ledger, run, loss):
    run.global_step += 1
    ledger.on_train_batch_end(run, None, {"step_loss": torch.tensor(loss)}, None, 0)


def test_nothing_is_written_before_the_buffer_is_full(tmp_path, monkeypatch):
    """Reading a loss makes a GPU wait."""
    monkeypatch.setattr(step_losses, "_BUFFERED", 3)
    run = trainer(tmp_path)
    ledger, written = begun(run), []
    for loss in range(1, 8):
        step(ledger, run, float(loss))
        written.append(len(read_step_losses(tmp_path)))
    assert written == [0, 0, 3, 3, 3, 6, 6]
    ledger.on_train_end(run, None)
    assert read_step_losses(tmp_path).tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_without_a_new_step_no_file_is_touched(tmp_path):
    """A checkpoint may be saved before the first step of a resumed run."""
    write_step_losses(tmp_path, 0, np.array([1, 2], np.float32))
    run = trainer(tmp_path, global_step=1)
    LossLedger().flush(run)
    ledger = begun(run)
    ledger.flush(run)
    assert read_step_losses(tmp_path).tolist() == [1, 2]
    step(ledger, run, 5.0)
    ledger.flush(run)
    (tmp_path / FILE).unlink()
    ledger.flush(run)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("first", [True, False])
def test_the_mean_of_all_processes_is_written_by_the_first(tmp_path, first):
    asked = []

    def reduce(losses, reduce_op):
        asked.append((losses.tolist(), reduce_op))
        return losses.add_(1)

    run = trainer(tmp_path, world_size=2, is_global_zero=first, strategy=SimpleNamespace(reduce=reduce))
    ledger = begun(run)
    step(ledger, run, 3.0)
    ledger.flush(run)
    step(ledger, run, 4.0)
    ledger.flush(run)
    assert asked == [([3.0], "mean"), ([4.0], "mean")]
    assert read_step_losses(tmp_path).tolist() == ([4.0, 5.0] if first else [])


def test_a_disk_that_refuses_is_told(tmp_path):
    run = trainer(tmp_path / "gone")
    ledger = begun(run)
    step(ledger, run, 3.0)
    with pytest.raises(LabError, match=rf"^cannot write {tmp_path}/gone/{FILE}: No such file or directory$"):
        ledger.flush(run)
