"""The history of epochs in a resumed run."""

from types import SimpleNamespace

from diffusion_lab.training.epoch_history import History


def test_a_validation_before_the_resume_counts_for_its_epoch():
    validated = SimpleNamespace(sanity_checking=False, callback_metrics={"val/loss": 0.5})
    over = SimpleNamespace(
        current_epoch=0, global_step=8, is_last_batch=True, callback_metrics={"train/loss_epoch": 0.25}
    )
    before, history = History(), History()
    before.on_validation_end(validated, None)
    history.load_state_dict(before.state_dict())
    history.on_train_epoch_end(over, None)
    assert history.epochs == [{"epoch": 1, "step": 8, "train/loss": 0.25, "val/loss": 0.5}]
    history.on_train_epoch_end(SimpleNamespace(**{**vars(over), "current_epoch": 1}), None)  # none was validated
    assert "val/loss" not in history.epochs[1]


def test_so_it_does_in_an_epoch_that_max_steps_ended_early():
    history = History()
    history.on_validation_end(SimpleNamespace(sanity_checking=False, callback_metrics={"val/loss": 0.5}), None)
    for step, last in ((6, False), (8, True)):
        history.on_train_epoch_end(
            SimpleNamespace(current_epoch=0, global_step=step, is_last_batch=last, callback_metrics={}), None
        )
    assert history.epochs == [{"epoch": 1, "step": 8, "val/loss": 0.5}]


def epoch_end(history, epoch, metrics, last=True):
    over = SimpleNamespace(current_epoch=epoch, global_step=8, is_last_batch=last, callback_metrics=metrics)
    history.on_train_epoch_end(over, None)


def test_a_run_without_validations_has_no_validation_loss():
    history = History()
    history.metrics["val/loss"] = 0.5  # of a run before, say
    epoch_end(history, 0, {"train/loss_epoch": 0.25})
    assert history.epochs == [{"epoch": 1, "step": 8, "train/loss": 0.25}]


def test_a_validation_before_training_counts_for_no_epoch():
    history = History()
    history.on_validation_end(SimpleNamespace(sanity_checking=True, callback_metrics={"val/loss": 0.5}), None)
    epoch_end(history, 0, {})
    assert "val/loss" not in history.epochs[0]


def test_what_is_logged_at_the_very_end_is_among_the_metrics():
    history = History()
    epoch_end(history, 0, {"train/loss_epoch": 0.25, "a": 1.0})
    history.on_train_end(SimpleNamespace(callback_metrics={"a": 2.0}), None)
    assert history.metrics == {"train/loss_epoch": 0.25, "a": 2.0}


def test_a_validation_of_an_epoch_before_the_resume_counts_for_no_later_one():
    before, history = History(), History()
    before.on_validation_end(SimpleNamespace(sanity_checking=False, callback_metrics={"val/loss": 0.5}), None)
    epoch_end(before, 0, {})
    history.load_state_dict(before.state_dict())
    epoch_end(history, 1, {})
    assert history.epochs == [{"epoch": 1, "step": 8, "val/loss": 0.5}, {"epoch": 2, "step": 8}]
    assert history.metrics == {"val/loss": 0.5}


def test_a_state_from_before_metrics_were_kept_has_none():
    history = History()
    history.load_state_dict({"epochs": [{"epoch": 1, "step": 8}]})
    epoch_end(history, 1, {})
    assert history.epochs == [{"epoch": 1, "step": 8}, {"epoch": 2, "step": 8}]
    assert history.metrics == {}
