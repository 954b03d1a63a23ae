"""The start table against numbers counted by hand and against what the trainer then does."""

import pytest
import pytorch_lightning as pl
import torch

from diffusion_lab.config.build import build
from diffusion_lab.machine.library_warnings import silence_library_warnings
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs import start_table


def convolution(side, inside, outside, kernel=3):
    return 2 * kernel**2 * inside * outside * side**2


def of_upsampled(side, inside, outside):
    """A 3×3 convolution after upsampling: each pixel of half the side is spread by a 4×4 kernel."""
    return convolution(side // 2, inside, outside, kernel=4)


def linear(inside, outside):
    return 2 * inside * outside


#: SimpleUNet with base 32, multipliers (1, 2) and time dimension 64 at 28×28, one line per block.
BY_HAND = sum(
    [
        linear(64, 64),
        convolution(28, 1, 32) + linear(64, 32),
        convolution(14, 32, 64) + linear(64, 64),
        convolution(7, 64, 64) + linear(64, 64),
        of_upsampled(14, 64, 32) + convolution(14, 64, 32) + linear(64, 32),
        of_upsampled(28, 32, 32) + convolution(28, 32, 32) + linear(64, 32),
        convolution(28, 32, 1, kernel=1),
    ]
)


@pytest.fixture
def parts(settings):
    def of(*overrides):
        return build(settings("data=digits", *overrides))

    return of


def trainer(**arguments):
    silence_library_warnings()
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    return pl.Trainer(**{**quiet, "enable_model_summary": False, **arguments})


def test_flops_are_those_of_the_convolutions_and_matrix_products(parts):
    assert BY_HAND == 42_686_464
    assert start_table.count_flops(parts("data.image_size=28")) == BY_HAND


def test_counting_changes_neither_the_network_nor_the_generator(parts):
    made = parts()
    made.network.encoder[0].eval()  # a mode that is not its parent's
    with_gradient = []
    made.network.register_forward_pre_hook(lambda *_: with_gradient.append(torch.is_grad_enabled()))
    made.network.register_forward_pre_hook(lambda *_: torch.rand(1) and None)  # a network that draws
    made.network.out.weight.grad = torch.ones_like(made.network.out.weight)
    modes = [module.training for module in made.network.modules()]
    weights = {name: value.clone() for name, value in made.network.state_dict().items()}
    state, evaluations = torch.get_rng_state(), made.module.denoiser.evaluations
    start_table.count_flops(made)
    assert with_gradient == [False]
    assert torch.equal(torch.get_rng_state(), state)
    assert made.module.denoiser.evaluations == evaluations
    assert [module.training for module in made.network.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in made.network.state_dict().items())
    assert [name for name, p in made.network.named_parameters() if p.grad is not None] == ["out.weight"]
    assert made.network.out.weight.grad.eq(1).all()


def test_the_table(settings, parts, tmp_path):
    overrides = ("schedule=cosine", "schedule.steps=500", "optimizer.lr=3e-4")
    chosen = settings("data=digits", "trainer.max_time=00:01:30:00", *overrides)
    rows = start_table.table(chosen, parts(*overrides), trainer(max_epochs=10), RunFolder(tmp_path))
    known = {row.label: row.data for row in rows}
    assert known["data"] == {
        "name": "Digits", "train": 1439, "validation": 179, "image": [1, 16, 16], "batch_size": 128,
    }  # fmt: skip
    assert known["network"]["parameters"] == 130_305
    assert known["process"] == {"name": "Gaussian", "schedule": "CosineSchedule", "T": 500}
    assert known["optimizer"] == {"name": "Adam", "lr": 3e-4}
    assert known["precision"] == "32-true"
    assert (known["device"]["type"], known["device"]["processes"]) == ("cpu", 1)
    assert known["steps"] == {"total": 120, "per_epoch": 12, "epochs": 10, "seconds": 5400}
    assert known["run folder"] == str(tmp_path)
    text = "\n".join(row.text for row in rows)
    for said in (
        "1,439 images",
        "1×16×16",
        "130,305 parameters",
        "MFLOPs per image",
        "T = 500",
        "120 (10 epochs of 12), or as many as 1 h 30 min of training allow",
    ):
        assert said in text
    assert all(len(row.text) < 110 for row in rows[:-1])


@pytest.mark.parametrize(
    ("data", "arguments", "total"),
    [
        ((), {"max_epochs": 3}, 36),
        ((), {"max_epochs": -1, "max_steps": 100}, 100),
        ((), {"max_epochs": 3, "max_steps": 20}, 20),
        ((), {"max_epochs": 3, "limit_train_batches": 5}, 15),
        ((), {"max_epochs": 3, "limit_train_batches": 0.5}, 18),
        ((), {"max_epochs": 2, "accumulate_grad_batches": 4, "limit_train_batches": 6}, 4),
        (("data.limit_train=250", "data.batch_size=64"), {"max_epochs": 2}, 8),
        ((), {"max_epochs": -1}, float("inf")),
    ],
)
def test_steps_are_those_that_the_trainer_will_take(parts, data, arguments, total):
    made, lightning = parts(*data), trainer(**arguments)
    made.data.setup()
    row = start_table._steps(made, lightning, None)
    assert row.data["total"] == total
    lightning.strategy.connect(made.module)
    lightning._data_connector.attach_data(made.module, datamodule=made.data)
    assert lightning.estimated_stepping_batches == total


def test_counts_of_operations_as_people_read_them():
    assert [start_table._flops(n) for n in (950, 17_900_000, 2_340_000_000, 1.5e12)] == [
        "950 FLOPs", "17.9 MFLOPs", "2.34 GFLOPs", "1.5 TFLOPs",
    ]  # fmt: skip
