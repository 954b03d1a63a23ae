"""The average is compared with its formula and with that of diffusers; and where it is used and where not."""

import copy

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from diffusion_lab.runs import load_run
from diffusion_lab.runs.train import train
from diffusion_lab.training.checkpoint_io import read_checkpoint
from diffusion_lab.training.ema import EMA


class Trainer:
    """The part of a trainer that the callback uses."""

    def __init__(self):
        self.global_step = 0


class Module(pl.LightningModule):
    """Two weights, a persistent buffer and one that is not persistent."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("table", torch.ones(4), persistent=False)


def walk(ema, module, steps, micro_batches=1):
    """Change the weights randomly in steps; return the weights after each step."""
    trainer, path = Trainer(), []
    ema.on_train_start(trainer, module)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        for _ in range(micro_batches - 1):
            ema.on_train_batch_end(trainer, module, None, None, 0)
        with torch.no_grad():
            for weight in module.parameters():
                weight += torch.randn(weight.shape, generator=generator)
            module.seen += 1
            module.table += 1
        trainer.global_step = step + 1
        ema.on_train_batch_end(trainer, module, None, None, 0)
        path.append({name: value.clone() for name, value in module.state_dict().items()})
    return path


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_the_average_is_the_weighted_sum_of_all_weights_there_were(decay, micro_batches):
    module = Module()
    start = {name: value.clone().double() for name, value in module.state_dict().items()}
    ema = EMA(decay)
    path = walk(ema, module, 30, micro_batches)
    # Unrolled: weight w_k counts (1 − d_k) · d_{k+1} ⋯ d_n, and the first one d_1 ⋯ d_n.
    d = [min(decay, (1 + n) / (10 + n)) for n in range(1, 31)]
    shares = [(1 - d[k]) * torch.tensor(d[k + 1 :], dtype=torch.float64).prod() for k in range(30)]
    first = torch.tensor(d, dtype=torch.float64).prod()
    assert float(first + sum(shares)) == pytest.approx(1)
    for name in ("linear.weight", "linear.bias"):
        expected = first * start[name] + sum(s * w[name].double() for s, w in zip(shares, path, strict=True))
        torch.testing.assert_close(ema.average[name].double(), expected, rtol=1e-5, atol=1e-5)
    assert int(ema.average["seen"]) == 30
    assert "table" not in ema.average


def test_it_is_that_of_diffusers():
    module = Module()
    other = EMAModel(module.parameters(), decay=0.95)  # its warm-up is the same: (1 + n) / (10 + n)
    ema = EMA(0.95)
    # Diffusers' first update only copies the weights: it is made before the first step.
    trainer = Trainer()
    ema.on_train_start(trainer, module)
    generator = torch.Generator().manual_seed(1)
    other.step(module.parameters())
    for step in range(1, 200):
        with torch.no_grad():
            for weight in module.parameters():
                weight += torch.randn(weight.shape, generator=generator)
        trainer.global_step = step
        ema.on_train_batch_end(trainer, module, None, None, 0)
        other.step(module.parameters())
    for (name, _), theirs in zip(module.named_parameters(), other.shadow_params, strict=True):
        torch.testing.assert_close(ema.average[name], theirs, rtol=1e-5, atol=1e-5)


def test_bfloat16_weights_are_averaged_in_float32():
    module = Module().to(torch.bfloat16)
    ema = EMA(0.999)
    walk(ema, module, 5)
    assert ema.average["linear.weight"].dtype == torch.float32
    assert not torch.equal(ema.average["linear.weight"], ema.average["linear.weight"].bfloat16().float())


def test_a_weight_that_has_two_names_has_one_average():
    module = Module()
    module.other = nn.Linear(3, 2)
    module.other.weight = module.linear.weight
    ema = EMA(0.5)
    walk(ema, module, 5)
    assert torch.equal(ema.average["linear.weight"], ema.average["other.weight"])


def test_each_of_several_decays_has_an_average_of_its_own():
    module = Module()
    several = EMA([0.5, 0.9])
    walk(several, copy.deepcopy(module), 20)
    named = several.named_tensors()
    for decay, before in ((0.5, ""), (0.9, "ema_0.9/")):
        alone = EMA(decay)
        walk(alone, copy.deepcopy(module), 20)
        assert several.content()["key"] == "ema_0.5"
        for name, value in alone.average.items():
            assert torch.equal(several.averages[f"ema_{decay}"][name], value)
            assert torch.equal(named.pop(before + name), value)
    assert named == {}


def test_steps_between_updates_are_left_out():
    module = Module()
    expected = module.linear.weight.detach().clone()
    ema = EMA(0.5, every_n_steps=3)
    path = walk(ema, module, 10)
    for update, weights in enumerate(path[2::3], 1):
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * weights["linear.weight"]
    assert ema.updates == 3
    torch.testing.assert_close(ema.average["linear.weight"], expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("decay", 1.0),
        ("decay", -0.1),
        ("decay", []),
        ("decay", [0.5, 0.5]),
        ("decay", [0.5, 1.0]),
        ("every_n_steps", 0),
    ],
)
def test_what_it_refuses(key, value):
    with pytest.raises(ValueError, match=rf"ema\.{key}"):
        EMA(**{key: value})


@pytest.mark.slow
def test_it_validates_and_draws_and_changes_nothing_of_the_training(tiny):
    plain, averaged = train(tiny(), []), train(tiny("ema=default", "ema.decay=0.8"), [])
    raw = [read_checkpoint(folder.path / "checkpoints" / "last.ckpt") for folder in (plain, averaged)]
    for name, value in raw[0]["state_dict"].items():
        assert torch.equal(value, raw[1]["state_dict"][name]), name
    average = raw[1]["ema"]["weights"]
    losses = [folder.read_json("metrics.json")["epochs"] for folder in (plain, averaged)]
    assert [row["train/loss"] for row in losses[0]] == [row["train/loss"] for row in losses[1]]
    assert [row["val/loss"] for row in losses[0]] != [row["val/loss"] for row in losses[1]]

    drawn = load_run(averaged.path)
    for name, value in drawn.parts.module.state_dict().items():
        assert torch.equal(value, average[name]), name
    final = torch.from_numpy(np.load(averaged.samples / "final.npy"))
    torch.testing.assert_close(drawn.sample(9, seed=0), final, rtol=0, atol=1e-5)
    weights = load_run(averaged.path, weights="raw").parts.module.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in raw[0]["state_dict"].items())
    best = read_checkpoint(averaged.path / "checkpoints" / "best.ckpt")  # saved while the average was in place
    assert all(not torch.equal(best["state_dict"][name], best["ema"]["weights"][name]) for name in average)
