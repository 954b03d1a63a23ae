"""A loss that is no number ends a run, with the step at which it was seen first."""

import math
from types import SimpleNamespace

import pytest
import torch

from diffusion_lab.errors import LabError
from diffusion_lab.training.finite_loss import FiniteLoss


def trainer(step, precision="32-true"):
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.25}])
    return SimpleNamespace(
        global_step=step, world_size=1, precision=precision, optimizers=[optimizer], default_root_dir="run"
    )


def seen(callback, loss, step, **more):
    callback.on_train_batch_end(trainer(step, **more), None, {"loss": torch.tensor(loss)}, None, 0)


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_ends_the_run(loss):
    callback = FiniteLoss()
    seen(callback, 1e30, 6)
    with pytest.raises(LabError, match=r"not a finite number at step 7, with the learning rate 0\.25; .*run/checkpoin"):
        seen(callback, loss, 7)


def test_large_losses_and_zero_are_numbers():
    callback = FiniteLoss()
    for step, loss in enumerate((0.0, 3e38, -3e38, 1e-45)):
        seen(callback, loss, step)
    assert callback.check(trainer(4)) is None
    with pytest.raises(LabError, match="at step 5,"):
        seen(callback, math.inf, 5)


def test_nothing_is_known_before_the_first_step():
    """Another process may be asked, so nothing is: a trainer of several would be waited for."""
    assert FiniteLoss().check(SimpleNamespace()) is None


def test_on_a_device_that_computes_by_itself_the_first_bad_step_is_told_at_the_next_check():
    """A tensor without values stands for one on a GPU: only what is on the device can be asked."""
    callback = FiniteLoss(every_n_steps=5)
    asked = []
    callback.check = lambda trainer: asked.append(trainer.global_step)
    for step in range(1, 12):
        callback.on_train_batch_end(trainer(step), None, {"loss": torch.tensor(1.0, device="meta")}, None, 0)
    assert asked == [5, 10]


def test_the_first_bad_step_is_kept(monkeypatch):
    callback = FiniteLoss()
    check = callback.check
    monkeypatch.setattr(callback, "check", lambda trainer: None)
    for step, loss in enumerate((1.0, math.nan, 1.0, math.inf)):
        seen(callback, loss, step)
    with pytest.raises(LabError, match="at step 1,"):
        check(trainer(4))


def test_other_processes_are_asked_for_their_largest_step():
    callback = FiniteLoss()
    asked = []

    def reduce(tensor, reduce_op):
        asked.append((int(tensor), reduce_op))
        return torch.tensor(3)

    seen(callback, 1.0, 3)
    several = trainer(4)
    several.world_size, several.strategy = 2, SimpleNamespace(reduce=reduce)
    with pytest.raises(LabError, match="at step 3,"):
        callback.check(several)
    assert asked == [(-1, "max")]


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "32-true"])
def test_half_precision_has_advice_of_its_own(precision):
    with pytest.raises(LabError) as error:
        seen(FiniteLoss(), math.inf, 1, precision=precision)
    assert ("trainer.precision=bf16-mixed" in str(error.value)) == (precision == "16-mixed")


def test_a_check_at_every_step_or_more():
    assert FiniteLoss(1).every_n_steps == 1
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        FiniteLoss(0)
