"""What the training module gives the objective and the loggers."""

import functools

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from conftest import Batches
from diffusion_lab.codecs import Pixels
from diffusion_lab.data import Batch
from diffusion_lab.noise import Noise
from diffusion_lab.objectives import Objective, UniformTimes
from diffusion_lab.parameterizations import Eps
from diffusion_lab.processes import Gaussian
from diffusion_lab.schedules import LinearSchedule
from diffusion_lab.training.epoch_means import EpochMeans
from diffusion_lab.training.lr_schedule import LearningRateSchedule
from diffusion_lab.training.module import DiffusionModule
from plain_network import Plain
from two_processes import in_two_processes

#: Lightning and its torch, about themselves.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")

K = 4
PROCESS = Gaussian(LinearSchedule(100))


class Labelled(Plain):
    condition = "label"


class Terms(Objective):
    """The loss of a sample is the mean of its values; its conditions and times are remembered."""

    units = {"loss": "u", "twice": "u"}  # noqa: RUF012

    def __init__(self):
        self.seen, self.times = [], []

    def __call__(self, denoiser, z0, t, noise, condition=None):
        self.seen.append(condition)
        self.times.append(t)
        loss = denoiser.network.weight * z0.flatten(1).mean(1)
        return {"loss": loss, "twice": 2 * loss}


class Weighted(UniformTimes):
    """Rows 1, 2, 3, … of 100 in training, whose number is their weight; remembers what it could learn from."""

    learns = True

    def __init__(self):
        super().__init__(PROCESS, 4)
        self.learned, self.restored = [], None

    def __call__(self, noise):
        return (noise.rows + 1).double() / 100

    def weight(self, t):
        return 100 * t

    def update(self, t, loss):
        self.learned.append((t.tolist(), loss.tolist()))

    def state_dict(self):
        return {"batches": torch.tensor(len(self.learned))}

    def load_state_dict(self, state):
        self.restored = state


def module(network, objective, times=None):
    optimizer = functools.partial(torch.optim.SGD, lr=0.0)
    times = times or UniformTimes(PROCESS, 4)
    return DiffusionModule(network, Eps(PROCESS), Pixels(), objective, times, optimizer, LearningRateSchedule(), 0, K)


def batch(index, values, labels=True):
    x = torch.tensor(values).reshape(-1, 1, 1, 1)
    label = torch.arange(len(x)) % K if labels else None
    return Batch(x, label, torch.arange(len(x)), 0, index, len(x))


def fit(tmp_path, made, batches, more=(), **arguments):
    trainer = pl.Trainer(
        accelerator="cpu", logger=CSVLogger(tmp_path), callbacks=[EpochMeans(), *more], enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1,
        max_epochs=1, default_root_dir=tmp_path, **arguments,
    )  # fmt: skip
    trainer.fit(made, Batches(batches), Batches(batches))
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_every_term_is_logged_by_its_name_and_averaged_over_samples(tmp_path):
    """Batches of three and one: the mean over samples is not that of the batches."""
    logged = fit(tmp_path, module(Plain(1), Terms()), [batch(0, [1.0, 2.0, 3.0]), batch(1, [10.0])])
    assert logged["train/loss_epoch"] == logged["val/loss"] == pytest.approx(4)
    assert logged["train/twice_epoch"] == logged["val/twice"] == pytest.approx(8)
    assert (logged["train/loss_step"], logged["train/twice_step"]) == (10, 20)


def test_a_network_without_a_condition_gets_none(tmp_path):
    objective = Terms()
    fit(tmp_path, module(Plain(1), objective), [batch(0, [1.0, 2.0])])
    assert objective.seen == [None, None]


def test_labels_reach_the_objective_in_training_and_validation(tmp_path):
    objective = Terms()
    fit(tmp_path, module(Labelled(1), objective), [batch(0, [1.0, 2.0, 3.0])])
    assert [seen.tolist() for seen in objective.seen] == [[0, 1, 2], [0, 1, 2]]


def test_labels_are_dropped_for_each_sample_and_only_while_training(tmp_path):
    network, objective = Labelled(1), Terms()
    network.condition_dropout = 0.25
    values = [1.0] * 2000
    fit(tmp_path, module(network, objective), [batch(0, values)])
    trained, validated = objective.seen
    plain = torch.arange(2000) % K
    assert torch.equal(validated, plain)
    dropped = trained == K
    assert torch.equal(trained[~dropped], plain[~dropped])
    assert dropped.double().mean().item() == pytest.approx(0.25, abs=0.04)


def test_a_label_is_dropped_where_the_number_of_its_row_is_below_the_share(tmp_path):
    """Numbers lie in [0, 1): one that is the share itself is not."""
    numbers = Noise(torch.arange(64), 0, "train", 0, 0).at("condition").uniform()
    network, objective = Labelled(1), Terms()
    network.condition_dropout = float(numbers[5])
    fit(tmp_path, module(network, objective), [batch(0, [1.0] * 64)])
    assert torch.equal(objective.seen[0] == K, numbers < numbers[5])


def test_which_labels_are_dropped_depends_on_the_row_alone(tmp_path):
    """So that several processes drop what one would."""
    network, objective = Labelled(1), Terms()
    network.condition_dropout = 0.5
    made = module(network, objective)
    whole = batch(0, [1.0] * 64)
    part = Batch(whole.x[8:24], whole.label[8:24], whole.row[8:24], 0, 0, 64)
    fit(tmp_path, made, [whole])
    fit(tmp_path, made, [part])
    assert torch.equal(objective.seen[2], objective.seen[0][8:24])


def test_training_is_weighted_and_validation_is_not(tmp_path):
    """Batches of three and one: the mean of a term over samples, each times its weight."""
    objective = Terms()
    made = module(Plain(1), objective, Weighted())
    logged = fit(tmp_path, made, [batch(0, [1.0, 2.0, 3.0]), batch(1, [10.0])])
    assert logged["train/loss_epoch"] == pytest.approx((1 * 1 + 2 * 2 + 3 * 3 + 1 * 10) / 4)
    assert (logged["train/loss_step"], logged["train/twice_step"]) == (10, 20)
    assert logged["val/loss"] == pytest.approx(4)
    trained, _, validated, _ = objective.times
    assert trained.tolist() == [0.01, 0.02, 0.03]
    uniform = UniformTimes(PROCESS, 4)(Noise(torch.arange(3), 0, "validation", "time"))
    assert torch.equal(validated, uniform)


class Logged(pl.Callback):
    """Keeps what is logged of each step."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def divided(rank, folder):
    """Fit to two batches, of which a process sees a part; return what it logs, its weight and what its times learn."""
    network, times, steps = Plain(1), Weighted(), Logged()
    made = module(network, Terms(), times)
    made.optimizer = functools.partial(torch.optim.SGD, lr=0.01)
    wholes = [batch(0, [1.0, 2.0, 3.0]), batch(1, [10.0, 20.0])]
    rows = {None: slice(None), 0: slice(1), 1: slice(1, None)}[rank]
    parts = [Batch(one.x[rows], one.label[rows], one.row[rows], 0, one.index, one.size) for one in wholes]
    several = {} if rank is None else {"strategy": "ddp", "devices": 2}
    logged = fit(folder, made, parts, more=[steps], **several)
    return logged, steps.steps, float(network.weight.detach()), times.learned


@pytest.mark.slow
def test_two_processes_log_descend_and_learn_what_one_does(tmp_path):
    """Their parts of the batches are of different sizes."""
    logged, steps, weight, learned = divided(None, tmp_path)
    assert [set(step) for step in steps] == [{"train/loss_step", "train/twice_step"}] * 2
    for of_rank in in_two_processes(divided, tmp_path):
        assert of_rank[0] == pytest.approx(logged)
        for ours, theirs in zip(of_rank[1], steps, strict=True):
            assert ours == pytest.approx(theirs)
        assert of_rank[2] == pytest.approx(weight)
        assert of_rank[3] == learned


def test_the_gradient_is_that_of_the_weighted_mean(tmp_path):
    network = Plain(1)
    made = module(network, Terms(), Weighted())
    made.optimizer = functools.partial(torch.optim.SGD, lr=1.0)
    fit(tmp_path, made, [batch(0, [1.0, 2.0, 3.0])])
    assert float(network.weight.detach()) == pytest.approx(1 - (1 * 1 + 2 * 2 + 3 * 3) / 3)


def test_times_are_learned_from_the_losses_of_a_whole_batch_without_weights(tmp_path):
    """Each batch is in two parts, and the epoch ends in the middle of the second: only the first one teaches."""
    whole = batch(0, [1.0, 2.0, 3.0])
    parts = [Batch(whole.x[rows], None, whole.row[rows], 0, 0, 3) for rows in (slice(1), slice(1, 3), slice(1))]
    times = Weighted()
    fit(tmp_path, module(Plain(1), Terms(), times), parts, accumulate_grad_batches=2)
    assert times.learned == [([0.01, 0.02, 0.03], [1, 2, 3])]


def test_times_in_single_precision_learn_from_losses_in_double_precision(tmp_path):
    class Narrow(Weighted):
        def __call__(self, noise):
            return super().__call__(noise).float()

    class Wide(Terms):
        def __call__(self, *arguments):
            return {name: value.double() for name, value in super().__call__(*arguments).items()}

    times = Narrow()
    fit(tmp_path, module(Plain(1), Wide(), times), [batch(0, [1.0, 2.0, 3.0])])
    assert times.learned == [(pytest.approx([0.01, 0.02, 0.03]), [1, 2, 3])]


def test_what_was_learned_is_in_a_checkpoint_and_nothing_is_for_times_that_do_not_learn():
    checkpoint = {}
    module(Plain(1), Terms()).on_save_checkpoint(checkpoint)
    assert checkpoint == {}
    module(Plain(1), Terms()).on_load_checkpoint(checkpoint)
    times = Weighted()
    made = module(Plain(1), Terms(), times)
    made.on_save_checkpoint(checkpoint)
    made.on_load_checkpoint(checkpoint)
    assert times.restored == {"batches": torch.tensor(0)}


class Drawing(Terms):
    """Remembers what it was given to draw from: noise with an address, and torch's own generator."""

    def __init__(self):
        super().__init__()
        self.noise, self.torch_seeds = [], []

    def __call__(self, denoiser, z0, t, noise, condition=None):
        self.noise.append(noise.normal((3,)).tolist())
        self.torch_seeds.append(torch.initial_seed())
        return super().__call__(denoiser, z0, t, noise, condition)


def drawn(tmp_path, *places, accumulate=1):
    """What training and validation draw in a run whose batches are at these places, (epoch, index) each."""
    objective = Drawing()
    x = torch.tensor([1.0, 2.0]).reshape(-1, 1, 1, 1)
    batches = [Batch(x, None, torch.arange(2), epoch, index, 2) for epoch, index in places]
    made = module(Plain(1), objective)
    fit(tmp_path, made, batches, accumulate_grad_batches=accumulate)
    return objective


def test_the_noise_of_training_is_that_of_its_place(tmp_path):
    noise = drawn(tmp_path, (0, 0), (0, 1), (1, 0), (0, 0)).noise[:4]
    assert noise[0] == noise[3]
    assert len({str(one) for one in noise}) == 3


def test_the_noise_of_validation_is_the_same_in_every_epoch(tmp_path):
    """So that losses of two epochs differ by the weights alone; and it is none of that of training."""
    first, second = (drawn(tmp_path, (epoch, 0)) for epoch in (0, 5))
    assert first.noise[1] == second.noise[1]
    assert torch.equal(first.times[1], second.times[1])
    assert first.noise[1] not in (first.noise[0], second.noise[0])


def test_what_dropout_draws_is_that_of_its_place(tmp_path):
    """Its epoch, its batch and the part of the batch: a resumed run drops what one without an interruption does."""
    seeds = drawn(tmp_path, (0, 0), (0, 1), (1, 0), (0, 0)).torch_seeds[:4]
    assert seeds[0] == seeds[3]
    assert len(set(seeds)) == 3
    parts = drawn(tmp_path, (0, 0), (0, 0), accumulate=2).torch_seeds[:2]
    assert parts[0] == seeds[0] != parts[1]
