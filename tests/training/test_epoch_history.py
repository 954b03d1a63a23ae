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
