"""The loss by part of the time axis, against a loop over the samples."""

import math

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import nn

from conftest import Batches
from diffusion_lab.training.timestep_loss import TimestepLoss
from two_processes import in_two_processes

#: Lightning and its torch, about themselves.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")

STEPS = 1000


class Module(pl.LightningModule):
    """Says what its batches say: rows of (loss, t), and perhaps of weights."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        weight = batch[:, 2] if batch.shape[1] > 2 else torch.ones_like(batch[:, 1])
        return {"loss": 0 * self.weight, "terms": {"loss": batch[:, 0].float()}, "t": batch[:, 1], "weight": weight}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def by_part(rows, buckets):
    """{upper end: mean}, one sample after another."""
    parts = {}
    for loss, t in rows.tolist():
        n = round(t * STEPS)
        upper = next(k for k in range(1, buckets + 1) if n * buckets <= k * STEPS)
        parts.setdefault(upper, []).append(loss)
    return {upper: math.fsum(losses) / len(losses) for upper, losses in parts.items()}


def fit(tmp_path, callback, batches, **arguments):
    return fitted(tmp_path, callback, batches, **arguments)[1]


def fitted(tmp_path, callback, batches, **arguments):
    trainer = pl.Trainer(
        accelerator="cpu", logger=CSVLogger(tmp_path), callbacks=[callback], enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, default_root_dir=tmp_path,
        log_every_n_steps=1, **arguments,
    )  # fmt: skip
    trainer.fit(Module(), Batches(batches))
    return trainer, {name: float(value) for name, value in trainer.callback_metrics.items()}


def samples(*sizes):
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(1, STEPS + 1, (sum(sizes),), generator=generator).double()
    rows = torch.stack((torch.rand(len(index), generator=generator, dtype=torch.float64).float().double(), index), 1)
    rows[:, 1] /= STEPS
    return rows, list(rows.split(sizes))


@pytest.mark.parametrize("buckets", [1, 4, 10])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_means_are_those_of_the_epochs_samples(tmp_path, buckets, accumulate):
    rows, batches = samples(40, 40, 40, 17)
    callback = TimestepLoss(buckets)
    logged = fit(tmp_path, callback, batches, max_epochs=2, accumulate_grad_batches=accumulate)
    expected = by_part(rows, buckets)
    assert len(expected) == buckets
    assert set(logged) == set(callback.names)
    for upper, mean in expected.items():
        assert logged[callback.names[upper - 1]] == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("buckets", [3, 4, 7, 10])
def test_every_time_of_the_grid_falls_into_the_part_whose_upper_end_it_reaches(tmp_path, buckets):
    for n in (1, STEPS // buckets, *(k * STEPS // buckets + d for k in range(1, buckets) for d in (0, 1)), STEPS):
        callback = TimestepLoss(buckets)
        row = torch.tensor([[2.0, n / STEPS]], dtype=torch.float64)
        logged = fit(tmp_path, callback, [row], max_epochs=1)
        (upper,) = by_part(row, buckets)
        assert logged == {callback.names[upper - 1]: 2.0}


def test_a_time_whose_product_is_rounded_up_falls_into_the_part_that_ends_with_it(tmp_path):
    """0.07 · 100 is a little more than 7 in double precision."""
    logged = fit(tmp_path, TimestepLoss(100), [torch.tensor([[2.0, 0.07]], dtype=torch.float64)], max_epochs=1)
    assert logged == {"train/loss_by_t/0.06-0.07": 2.0}


def test_a_sample_counts_as_often_as_its_weight_says(tmp_path):
    rows = torch.tensor([[1.0, 0.1, 3.0], [5.0, 0.2, 1.0], [7.0, 0.9, 0.5]], dtype=torch.float64)
    callback = TimestepLoss(2)
    logged = fit(tmp_path, callback, [rows[:2], rows[2:]], max_epochs=1)
    assert logged == {callback.names[0]: (3 + 5) / 4, callback.names[1]: 7}


def divided(rank, folder):
    """Two of three batches, of which a process has a part; return what is logged, saved, and saved after loading."""
    batches = samples(3, 5, 4)[1]
    if rank is not None:
        batches = [part[:1] if rank == 0 else part[1:] for part in batches]
    several = {} if rank is None else {"strategy": "ddp", "devices": 2}
    callback, other = TimestepLoss(4), TimestepLoss(4)
    trainer, logged = fitted(folder, callback, batches, max_steps=2, **several)
    saved, again = {}, {}
    callback.on_save_checkpoint(trainer, None, saved)
    other.on_load_checkpoint(trainer, None, saved)
    other.on_save_checkpoint(trainer, None, again)
    return logged, saved, again


@pytest.mark.slow
def test_the_parts_of_two_processes_are_one_and_are_counted_once_after_a_resume(tmp_path):
    logged, saved, again = divided(None, tmp_path)
    assert saved == again
    ((_, counts),) = saved.values()
    assert sum(counts) == 8
    for of_rank in in_two_processes(divided, tmp_path):
        assert of_rank[0] == pytest.approx(logged)
        assert of_rank[1] == of_rank[2]
        for ours, theirs in zip(*(one["timestep_loss"] for one in (of_rank[1], saved)), strict=True):
            assert ours == pytest.approx(theirs)


def test_small_losses_beside_large_ones_are_not_lost(tmp_path):
    """Single precision would round the sum of the first two to the first."""
    rows = torch.tensor([[2.0**24, 0.5], [1.0, 0.5], [1.0, 0.5], [-(2.0**24), 0.5]], dtype=torch.float64)
    callback = TimestepLoss(1)
    assert fit(tmp_path, callback, [rows], max_epochs=1) == {callback.names[0]: 0.5}


def test_the_names_sort_as_the_parts_do():
    assert TimestepLoss(4).names == [
        f"train/loss_by_t/{part}" for part in ("0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00")
    ]
    assert TimestepLoss(10).names[0] == "train/loss_by_t/0.0-0.1"
    assert TimestepLoss(20).names[1] == "train/loss_by_t/0.05-0.10"
    assert TimestepLoss(3).names[1] == "train/loss_by_t/0.333-0.667"
    for buckets in (1, 3, 7, 10, 20, 100, 1000):
        names = TimestepLoss(buckets).names
        assert sorted(set(names)) == names
        assert len(names) == buckets


def test_an_epoch_starts_from_nothing(tmp_path):
    class Worse(Module):
        def training_step(self, batch, batch_idx):
            outputs = super().training_step(batch, batch_idx)
            terms = outputs["terms"]
            return {**outputs, "terms": {"loss": terms["loss"] + self.current_epoch}}

    callback = TimestepLoss(1)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=[callback], enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, default_root_dir=tmp_path, max_epochs=3,
    )  # fmt: skip
    trainer.fit(Worse(), Batches([torch.tensor([[1.0, 0.5]])]))
    assert float(trainer.callback_metrics[callback.names[0]]) == 3.0


@pytest.mark.parametrize("buckets", [0, 1001])
def test_no_part_and_too_many_are_refused(buckets):
    with pytest.raises(ValueError, match=rf"callbacks\.timestep_loss\.buckets must be from 1 to 1,000, got {buckets}"):
        TimestepLoss(buckets)


def test_of_a_network_that_sees_blocks_nothing_is_logged(tmp_path):
    """The blocks of a sample have times from all parts."""

    class Blocks(Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Identity()
            self.network.block_size = 4

    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=[TimestepLoss(2)], enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, default_root_dir=tmp_path, max_epochs=1,
    )  # fmt: skip
    trainer.fit(Blocks(), Batches(samples(8)[1]))
    assert not trainer.callback_metrics
