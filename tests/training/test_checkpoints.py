"""Which state is kept, and when."""

import math
from types import SimpleNamespace

import pytest
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.training.checkpoints import Checkpoints, checkpoint_path, earlier_checkpoints
from diffusion_lab.training.finite_loss import FiniteLoss
from diffusion_lab.training.step_losses import LossLedger


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
