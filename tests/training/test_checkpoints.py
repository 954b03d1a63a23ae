"""Which state is kept, and when."""

import math
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch import nn

from conftest import Batches
from diffusion_lab.errors import LabError
from diffusion_lab.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint
from diffusion_lab.training.checkpoints import Checkpoints, checkpoint_path, earlier_checkpoints
from diffusion_lab.training.finite_loss import FiniteLoss
from diffusion_lab.training.step_losses import LossLedger

#: Lightning and its torch, about themselves.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


class Trainer(SimpleNamespace):
    """What a callback asks a trainer for; saved checkpoints hold the step's number."""

    def __init__(self, folder, **more):
        (folder / "checkpoints").mkdir(exist_ok=True)
        self.saved = []
        usual = {"global_step": 0, "current_epoch": 0, "world_size": 1, "callbacks": [], "loggers": []}
        usual |= {
            "accumulate_grad_batches": 1,
            "is_global_zero": True,
            "sanity_checking": False,
            "callback_metrics": {},
        }
        super().__init__(default_root_dir=str(folder), **(usual | more))

    def save_checkpoint(self, path):
        self.saved.append(path.name)
        new = path.with_suffix(".new")
        new.write_text(str(self.global_step))
        new.replace(path)

    def there(self):
        folder = checkpoint_path(self.default_root_dir, "last").parent
        return {path.name: path.read_text() for path in sorted(folder.iterdir())}


@pytest.fixture
def trainer(tmp_path):
    return Trainer(tmp_path)


def begin_step(checkpoints, trainer, step, batch=None, epoch=0):
    trainer.global_step, trainer.current_epoch = step, epoch
    checkpoints.on_train_batch_start(trainer, None, None, step if batch is None else batch)


def validate(checkpoints, trainer, loss, step=0):
    trainer.global_step, trainer.callback_metrics = step, {"val/loss": torch.tensor(loss)}
    checkpoints.on_validation_end(trainer, None)


def test_the_best_is_that_of_the_lowest_loss(trainer):
    checkpoints = Checkpoints()
    for step, loss in enumerate((0.5, 0.7, 0.4, 0.4, math.nan, 0.45)):
        validate(checkpoints, trainer, loss, step)
    assert trainer.there() == {"best.ckpt": "2"}
    assert checkpoints.best_loss == pytest.approx(0.4)


def test_a_resumed_run_does_not_forget_the_best_loss(trainer):
    """A worse one must not take the place of `best.ckpt`."""
    first = Checkpoints()
    validate(first, trainer, 0.4, 3)
    resumed = Checkpoints()
    resumed.load_state_dict(first.state_dict())
    validate(resumed, trainer, 0.5, 6)
    assert trainer.there() == {"best.ckpt": "3"}
    validate(resumed, trainer, 0.3, 9)
    assert trainer.there() == {"best.ckpt": "9"}


def test_before_training_and_without_a_validation_nothing_is_the_best(trainer):
    checkpoints = Checkpoints()
    trainer.sanity_checking = True
    validate(checkpoints, trainer, 0.4)
    trainer.sanity_checking, trainer.callback_metrics = False, {}
    checkpoints.on_validation_end(trainer, None)
    assert trainer.there() == {}
    assert checkpoints.best_loss == math.inf


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1, [4, 8, 12]), (2, [8]), (3, [12])],
)
def test_states_are_saved_at_the_ends_of_epochs(trainer, every, expected):
    checkpoints = Checkpoints(every_n_epochs=every, keep=1)
    checkpoints.on_train_start(trainer, None)
    found = []
    for step in range(15):
        before = len(trainer.saved)
        begin_step(checkpoints, trainer, step, step % 4, step // 4)
        found += [step] * (len(trainer.saved) - before)
    assert found == expected


def test_states_are_saved_after_steps_whatever_their_first_one_was(trainer):
    """A resumed run saves at the same steps as one that was not interrupted."""
    checkpoints = Checkpoints(every_n_epochs=100, every_n_steps=3, keep=None)
    trainer.global_step = 4
    checkpoints.on_train_start(trainer, None)
    for step in range(4, 11):
        begin_step(checkpoints, trainer, step)
    assert trainer.there() == {"last.ckpt": "9", "step_00000006.ckpt": "6"}


def test_states_are_saved_after_minutes(trainer, monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    checkpoints = Checkpoints(every_n_epochs=100, every_n_minutes=2, keep=None)
    checkpoints.on_train_start(trainer, None)
    for step, seconds in enumerate((10, 119, 120, 130, 239, 241), 1):
        now = float(seconds)
        begin_step(checkpoints, trainer, step)
    assert trainer.there() == {"last.ckpt": "6", "step_00000003.ckpt": "3"}


def test_a_state_is_never_saved_between_parts_of_a_step(tmp_path):
    trainer = Trainer(tmp_path, accumulate_grad_batches=2)
    checkpoints = Checkpoints(every_n_steps=1)
    checkpoints.on_train_start(trainer, None)
    for batch in range(6):
        trainer.global_step = batch // 2
        checkpoints.on_train_batch_start(trainer, None, None, batch)
        assert trainer.saved == ["last.ckpt"] * (batch // 2)


@pytest.mark.parametrize(
    ("keep", "expected"),
    [(1, ["last"]), (2, ["last", "step_00000003"]), (3, ["last", "step_00000002", "step_00000003"])],
)
def test_so_many_states_are_kept(trainer, keep, expected):
    checkpoints = Checkpoints(every_n_steps=1, keep=keep)
    checkpoints.on_train_start(trainer, None)
    for step in range(1, 5):
        begin_step(checkpoints, trainer, step)
    assert [name.removesuffix(".ckpt") for name in trainer.there()] == expected
    assert trainer.there()["last.ckpt"] == "4"
    assert [path.stem for path in earlier_checkpoints(trainer.default_root_dir)] == expected[:0:-1]


def test_the_end_of_training_is_saved_once(trainer):
    checkpoints = Checkpoints(every_n_steps=1)
    checkpoints.on_train_start(trainer, None)
    begin_step(checkpoints, trainer, 1)
    trainer.global_step = 2
    checkpoints.on_train_end(trainer, None)
    checkpoints.on_train_end(trainer, None)
    assert trainer.saved == ["last.ckpt"] * 2
    assert trainer.there()["last.ckpt"] == "2"


def test_what_belongs_to_the_step_before_is_on_the_disk_first(tmp_path):
    """A run that is resumed from the state writes none of it again."""
    happened = []
    trainer = Trainer(tmp_path, loggers=[SimpleNamespace(save=lambda: happened.append("logger"))])
    trainer.save_checkpoint = lambda path: happened.append("state")
    finite, ledger = FiniteLoss(), LossLedger.__new__(LossLedger)
    finite.check = lambda trainer: happened.append("finite")
    ledger.flush = lambda trainer: happened.append("losses")
    trainer.callbacks = [finite, ledger]
    trainer.global_step = 1
    Checkpoints().save_last(trainer)
    assert sorted(happened[:3]) == ["finite", "logger", "losses"]
    assert happened[3:] == ["state"]


def test_weights_of_a_loss_that_is_no_number_replace_nothing(tmp_path):
    def refuse(trainer):
        raise LabError("the training loss was not a finite number")

    finite = FiniteLoss()
    finite.check = refuse
    trainer = Trainer(tmp_path, callbacks=[finite], global_step=1)
    with pytest.raises(LabError):
        Checkpoints().save_last(trainer)
    assert trainer.there() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_epochs": 0}, "every_n_epochs must be at least 1, got 0"),
        ({"every_n_steps": 0}, "every_n_steps must be at least 1, got 0"),
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"every_n_minutes": 0.0}, r"every_n_minutes must be above 0 or null, got 0\.0"),
        ({"every_n_minutes": math.nan}, "every_n_minutes must be above 0 or null, got nan"),
    ],
)
def test_numbers_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(**arguments)


class Falling(pl.LightningModule):
    """A weight that is the loss, and falls in each step."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def training_step(self, batch, batch_idx):
        self.log("train/loss", self.weight, batch_size=1)
        return 1 * self.weight

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.weight, batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Placed(Batches):
    """A loader with a place, which the trainer must not restore: the data module does."""

    def state_dict(self):
        return {"place": 1}

    def load_state_dict(self, state):
        raise AssertionError


class Told(pl.Callback):
    """What happens in a training, with the numbers of epoch and step, and the trainer's counters at validations."""

    def __init__(self):
        self.happened, self.counters = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.happened.append(("batch", trainer.current_epoch, trainer.global_step, batch_idx))

    def on_validation_start(self, trainer, pl_module):
        self.happened.append(("validation", trainer.current_epoch, trainer.global_step))
        self.counters.append(trainer.fit_loop.state_dict())

    def on_train_epoch_end(self, trainer, pl_module):
        self.happened.append(("epoch", trainer.current_epoch, trainer.global_step))


class Rows(Logger):
    """Adds the number of each row to what happens, and what is in it."""

    name, version = "rows", 0

    def __init__(self, told):
        super().__init__()
        self.told = told

    def log_metrics(self, metrics, step=None):
        self.told.happened.append(("row", step, sorted(metrics)))

    def log_hyperparams(self, params):
        pass


def trained(folder, resumed=None, **limits):
    """Train in epochs of three batches, with a validation after the second; return what happens."""
    told = Told()
    trainer = pl.Trainer(
        accelerator="cpu", logger=Rows(told), callbacks=[told, Checkpoints(every_n_steps=1, keep=None)],
        plugins=[AtomicCheckpointIO()], enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        log_every_n_steps=1, val_check_interval=2, default_root_dir=folder, **limits,
    )  # fmt: skip
    batch = torch.ones(1)
    trainer.fit(Falling(), Placed([batch] * 3), Batches([batch]), ckpt_path=resumed, weights_only=True)
    return told


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a training of two epochs with all its states, and what happened in it."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, trained(folder, max_epochs=2)


def state(folder, step):
    """The state from before a step, which is not the last one."""
    return checkpoint_path(folder, f"step_{step:08d}")


def after(told, step):
    """What happens from the beginning of a step on."""
    return told.happened[[event[::2] for event in told.happened].index(("batch", step)) :]


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("limit", ["max_epochs", "max_steps"])
def test_from_every_state_the_rest_of_the_training_happens_as_it_did(tmp_path, limit, accumulated):
    """Steps, validations, epochs and rows of the log, each once and with the same numbers."""
    last = {1: 6, 2: 4}[accumulated]
    limits = {limit: {"max_epochs": 2, "max_steps": last}[limit], "accumulate_grad_batches": accumulated}
    told = trained(tmp_path / "whole", **limits)
    for step in range(1, last):
        again = trained(tmp_path / str(step), state(tmp_path / "whole", step), **limits)
        assert again.happened == after(told, step)


@pytest.mark.parametrize("step", range(1, 6))
def test_a_training_that_a_limit_ends_leaves_the_state_of_one_that_goes_on(whole, tmp_path, step):
    trained(tmp_path, max_steps=step)
    ended, goes_on = (
        read_checkpoint(path)["loops"]["fit_loop"]
        for path in (checkpoint_path(tmp_path, "last"), state(whole[0], step))
    )
    for name in ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict"):
        assert ended[name] == goes_on[name], name


def test_the_best_state_has_the_counters_of_the_trainer(whole):
    """It is saved in a validation, and not between two steps as `last.ckpt` is."""
    folder, told = whole
    best = read_checkpoint(checkpoint_path(folder, "best"))["loops"]["fit_loop"]
    for name in ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict"):
        assert best[name] == told.counters[-1][name], name
