"""Power-function averages against the sum over all weights there were, and any width that is made of stored ones."""

import copy
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from diffusion_lab.errors import LabError
from diffusion_lab.runs.chosen_weights import chosen_weights
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.power_ema import FOLDER, PowerEMA
from diffusion_lab.training.power_profile import WIDEST, gamma_of


class Module(pl.LightningModule):
    """A weight in float64, and a buffer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))


def walk(average, folder, steps, module=None, first=0):
    """Change the weights in smooth and random ways from step `first` on; return them after each step, and a checkpoint.

    What is changed at a step depends on its number alone, as in a run that is resumed.
    """
    module = module or Module()
    trainer = SimpleNamespace(global_step=first, is_global_zero=True, default_root_dir=folder)
    average.on_train_start(trainer, module)
    path = []
    for step in range(first + 1, steps + 1):
        with torch.no_grad():
            generator = torch.Generator().manual_seed(step)
            module.weight.copy_(torch.randn(4, generator=generator, dtype=torch.float64) + step / 50)
            module.seen.fill_(step)
        trainer.global_step = step
        average.on_train_batch_end(trainer, module, None, None, 0)
        path.append(module.weight.detach().clone())
    checkpoint = {"state_dict": module.state_dict()}
    average.on_save_checkpoint(trainer, module, checkpoint)
    return torch.stack(path), checkpoint


def expected(path, width):
    """The average as a sum over all weights, with the shares as integrals of the density."""
    edges = (torch.arange(len(path) + 1, dtype=torch.float64) / len(path)) ** (gamma_of(width) + 1)
    return ((edges[1:] - edges[:-1])[:, None] * path).sum(0)


def chosen(key, checkpoint, folder):
    return chosen_weights(key, checkpoint, folder / "checkpoints" / "last.ckpt", {"weight"})


@pytest.mark.parametrize("steps", [1, 2, 77])
def test_averages_are_the_sum_of_all_weights_with_the_shares_of_the_density(tmp_path, steps):
    average = PowerEMA([0.1, 0.05])
    path, _ = walk(average, tmp_path, steps)
    for key, width in (("power_0.1", 0.1), ("power_0.05", 0.05)):
        torch.testing.assert_close(average.averages[key]["weight"], expected(path, width), rtol=1e-12, atol=1e-12)
    assert int(average.average["seen"]) == steps


@pytest.mark.parametrize("width", [0.03, 0.08, 0.2])
def test_a_width_that_was_not_kept_is_made_of_stored_ones(tmp_path, width):
    path, checkpoint = walk(PowerEMA([0.1, 0.05], store_every_n_updates=10), tmp_path, 327)
    weights, key, error = chosen(f"power_{width}", checkpoint, tmp_path)
    true = expected(path, width)
    kept = checkpoint["ema"]["weights"]["weight"]
    assert (key, 0 < error < 0.05) == (f"power_{width}", True)
    # By Cauchy and Schwarz, with the norm of the profile n^(−1/2) · (γ + 1) / sqrt(2 γ + 1).
    gamma = gamma_of(width)
    bound = error * (gamma + 1) / (2 * gamma + 1) ** 0.5 * path.square().mean(0).sqrt()
    assert bool(((weights["weight"] - true).abs() <= 1.01 * bound).all())
    assert (weights["weight"] - true).norm() < 0.2 * (kept - true).norm()
    assert int(weights["seen"]) == 327


def test_a_kept_width_is_taken_as_it_is_however_it_is_written(tmp_path):
    _, checkpoint = walk(PowerEMA([0.1, 0.05]), tmp_path, 20)
    for key, name in (("power_0.10", "power_0.1"), ("power_.05", "power_0.05"), ("ema", "ema"), ("raw", "raw")):
        weights, known, error = chosen(key, checkpoint, tmp_path)
        assert (known, error) == (name, None)
    assert weights is checkpoint["state_dict"]


def test_the_distance_between_copies_is_doubled_when_there_are_too_many(tmp_path):
    average = PowerEMA([0.1], store_every_n_updates=2, max_stored=4)
    walk(average, tmp_path, 19)
    assert sorted(p.name for p in (tmp_path / "checkpoints" / FOLDER).iterdir()) == [
        f"update_{n:08d}.ckpt" for n in (4, 8, 12, 16)
    ]
    assert [average.distance_at(n) for n in (1, 8, 9, 10, 17, 20, 40)] == [2, 2, 2, 4, 4, 8, 16]
    stored = read_checkpoint(tmp_path / "checkpoints" / FOLDER / "update_00000008.ckpt")["ema"]
    path, _ = walk(PowerEMA([0.1]), tmp_path / "other", 8)
    assert (stored["updates"], stored["key"]) == (8, "power_0.1")
    torch.testing.assert_close(stored["weights"]["weight"], expected(path, 0.1))


def test_files_of_other_names_among_the_copies_are_left_alone(tmp_path):
    folder = tmp_path / "checkpoints" / FOLDER
    folder.mkdir(parents=True)
    for name in ("update_mine.ckpt", "notes.txt"):
        (folder / name).write_text("mine")
    walk(PowerEMA([0.1], store_every_n_updates=2, max_stored=2), tmp_path, 8)
    assert {"update_mine.ckpt", "notes.txt"} < {file.name for file in folder.iterdir()}


def test_a_resumed_training_stores_the_same_copies(tmp_path):
    _, whole = walk(PowerEMA([0.1, 0.05], store_every_n_updates=3), tmp_path / "whole", 20)
    _, before = walk(PowerEMA([0.1, 0.05], store_every_n_updates=3), tmp_path / "cut", 7)
    walk(PowerEMA([0.1, 0.05], store_every_n_updates=3), tmp_path / "cut", 11)  # was killed at 11, saved at 7
    resumed, module = PowerEMA([0.1, 0.05], store_every_n_updates=3), Module()
    resumed.on_load_checkpoint(None, module, copy.deepcopy(before))
    _, after = walk(resumed, tmp_path / "cut", 20, module, first=7)
    names = sorted(path.name for path in (tmp_path / "whole" / "checkpoints" / FOLDER).iterdir())
    assert names == sorted(path.name for path in (tmp_path / "cut" / "checkpoints" / FOLDER).iterdir())
    for name in names:
        one, other = (
            read_checkpoint(tmp_path / folder / "checkpoints" / FOLDER / name)["ema"] for folder in ("whole", "cut")
        )
        assert torch.equal(one["weights"]["weight"], other["weights"]["weight"])
        assert torch.equal(one["others"]["power_0.05"]["weight"], other["others"]["power_0.05"]["weight"])
    assert torch.equal(after["ema"]["weights"]["weight"], whole["ema"]["weights"]["weight"])
    # A state from before the kill does not see copies from after it.
    early = chosen("power_0.08", before, tmp_path / "cut")[0]["weight"]
    path, _ = walk(PowerEMA([0.1]), tmp_path / "third", 7)
    torch.testing.assert_close(early, expected(path, 0.08), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("power_0.02", "widths from 0.03 to 0.2 can be made"),
        ("power_0.25", "widths from 0.03 to 0.2 can be made"),
        ("power_0.2", r"with an error of \d+\.\d% only"),  # nothing was stored on the way
        (
            "ema_0.999",
            r"has no such weights; it has raw, ema, power_0\.1, power_<width> with a width from 0\.03 to 0\.2",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, key, said):
    _, checkpoint = walk(PowerEMA([0.1]), tmp_path, 20)
    with pytest.raises(LabError, match=f"weights={key}: .*{said}"):
        chosen(key, checkpoint, tmp_path)


def test_a_copy_of_another_run_is_named(tmp_path):
    _, checkpoint = walk(PowerEMA([0.1, 0.05], store_every_n_updates=2), tmp_path, 20)
    path = tmp_path / "checkpoints" / FOLDER / "update_00000008.ckpt"
    torch.save(
        {"state_dict": {}, "ema": {"updates": 8, "weights": {"weight": torch.zeros(5)}, "key": "power_0.1"}}, path
    )
    with pytest.raises(LabError, match=r"update_00000008\.ckpt is damaged, or of another run"):
        chosen("power_0.08", checkpoint, tmp_path)
    torch.save({"state_dict": {}, "ema": {"updates": 7, "weights": {}}}, path)
    with pytest.raises(LabError, match=r"update_00000008\.ckpt is damaged, or of another run: it is not of update 8"):
        chosen("power_0.08", checkpoint, tmp_path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(LabError, match=r"update_00000008\.ckpt is damaged, or of another run: it is not of update 8"):
        chosen("power_0.08", checkpoint, tmp_path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(LabError, match=r"update_00000008\.ckpt is damaged or not a checkpoint"):
        chosen("power_0.08", checkpoint, tmp_path)


@pytest.mark.parametrize("number", ["0", "nan", "inf", "-1", "1e400", "0.5"])
def test_a_width_in_a_checkpoint_that_there_cannot_be_is_none(tmp_path, number):
    _, checkpoint = walk(PowerEMA([0.1]), tmp_path, 4)
    checkpoint["ema"]["key"] = f"power_{number}"
    with pytest.raises(LabError, match=r"weights=power_0\.08: last\.ckpt has no such weights; it has raw, ema, power_"):
        chosen("power_0.08", checkpoint, tmp_path)


def test_a_checkpoint_with_other_averages_is_not_taken(tmp_path):
    _, checkpoint = walk(PowerEMA([0.1, 0.05]), tmp_path, 4)
    with pytest.raises(LabError, match=r"has the averages power_0\.1, power_0\.05, and not power_0\.1$"):
        PowerEMA([0.1]).on_load_checkpoint(None, Module(), checkpoint)


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("widths", {"widths": []}),
        ("widths", {"widths": [0.1, 0.1]}),
        ("widths", {"widths": [0.0099]}),
        ("widths", {"widths": [WIDEST]}),
        ("widths", {"widths": [0.1, 0.3]}),
        ("every_n_steps", {"widths": [0.1], "every_n_steps": 0}),
        ("store_every_n_updates", {"widths": [0.1], "store_every_n_updates": 0}),
        ("max_stored", {"widths": [0.1], "max_stored": 1}),
        ("max_stored", {"widths": [0.1], "max_stored": 1001}),
    ],
)
def test_what_it_refuses(key, arguments):
    with pytest.raises(ValueError, match=rf"ema\.{key}"):
        PowerEMA(**arguments)


def test_what_it_just_takes():
    assert PowerEMA([0.01, 0.2886], store_every_n_updates=1, max_stored=2).keys == ["power_0.01", "power_0.2886"]
    assert PowerEMA([0.1], max_stored=1000).max_stored == 1000
