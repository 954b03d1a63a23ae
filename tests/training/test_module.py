"""What the training module gives the objective and the loggers."""

import functools

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from conftest import Batches
from diffusion_lab.codecs import Pixels
from diffusion_lab.data import Batch
from diffusion_lab.networks import Network
from diffusion_lab.objectives import Objective
from diffusion_lab.parameterizations import Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import LinearSchedule
from diffusion_lab.training.epoch_means import EpochMeans
from diffusion_lab.training.lr_schedule import LearningRateSchedule
from diffusion_lab.training.module import DiffusionModule

#: Lightning and its torch, about themselves.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")

K = 4


class Plain(Network):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, c_noise, condition=None):
        return self.weight * x


class Labelled(Plain):
    condition = "label"


class Terms(Objective):
    """The loss of a sample is the mean of its values; what it was conditioned on is remembered."""

    units = {"loss": "u", "twice": "u"}  # noqa: RUF012

    def __init__(self):
        self.seen = []

    def __call__(self, denoiser, z0, noise, condition=None):
        self.seen.append(condition)
        loss = denoiser.network.weight * z0.flatten(1).mean(1)
        return {"loss": loss, "t": torch.ones(len(z0), dtype=torch.float64), "twice": 2 * loss}


def module(network, objective):
    optimizer = functools.partial(torch.optim.SGD, lr=0.0)
    eps = Eps(Gaussian(LinearSchedule(100)))
    return DiffusionModule(network, eps, Pixels(), objective, optimizer, LearningRateSchedule(), 0, K)


def batch(index, values, labels=True):
    x = torch.tensor(values).reshape(-1, 1, 1, 1)
    label = torch.arange(len(x)) % K if labels else None
    return Batch(x, label, torch.arange(len(x)), 0, index, len(x))


def fit(tmp_path, made, batches, **arguments):
    trainer = pl.Trainer(
        accelerator="cpu", logger=CSVLogger(tmp_path), callbacks=[EpochMeans()], enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1,
        max_epochs=1, default_root_dir=tmp_path, **arguments,
    )  # fmt: skip
    trainer.fit(made, Batches(batches), Batches(batches))
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_every_term_is_logged_by_its_name_and_averaged_over_samples(tmp_path):
    """Batches of three and one: the mean over samples is not that of the batches."""
    logged = fit(tmp_path, module(Plain(), Terms()), [batch(0, [1.0, 2.0, 3.0]), batch(1, [10.0])])
    assert logged["train/loss_epoch"] == logged["val/loss"] == pytest.approx(4)
    assert logged["train/twice_epoch"] == logged["val/twice"] == pytest.approx(8)
    assert (logged["train/loss_step"], logged["train/twice_step"]) == (10, 20)
    assert not any(name.endswith(("/t", "/t_step", "/t_epoch")) for name in logged)


def test_a_network_without_a_condition_gets_none(tmp_path):
    objective = Terms()
    fit(tmp_path, module(Plain(), objective), [batch(0, [1.0, 2.0])])
    assert objective.seen == [None, None]


def test_labels_reach_the_objective_in_training_and_validation(tmp_path):
    objective = Terms()
    fit(tmp_path, module(Labelled(), objective), [batch(0, [1.0, 2.0, 3.0])])
    assert [seen.tolist() for seen in objective.seen] == [[0, 1, 2], [0, 1, 2]]


def test_labels_are_dropped_for_each_sample_and_only_while_training(tmp_path):
    network, objective = Labelled(), Terms()
    network.condition_dropout = 0.25
    values = [1.0] * 2000
    fit(tmp_path, module(network, objective), [batch(0, values)])
    trained, validated = objective.seen
    plain = torch.arange(2000) % K
    assert torch.equal(validated, plain)
    dropped = trained == K
    assert torch.equal(trained[~dropped], plain[~dropped])
    assert dropped.double().mean().item() == pytest.approx(0.25, abs=0.04)


def test_which_labels_are_dropped_depends_on_the_row_alone(tmp_path):
    """So that several processes drop what one would."""
    network, objective = Labelled(), Terms()
    network.condition_dropout = 0.5
    made = module(network, objective)
    whole = batch(0, [1.0] * 64)
    part = Batch(whole.x[8:24], whole.label[8:24], whole.row[8:24], 0, 0, 64)
    fit(tmp_path, made, [whole])
    fit(tmp_path, made, [part])
    assert torch.equal(objective.seen[2], objective.seen[0][8:24])
