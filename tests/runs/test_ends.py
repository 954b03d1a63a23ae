"""How a training ends before its limits of epochs and steps, and what resuming the run then means."""

import numpy as np
import pytest
from pytorch_lightning.callbacks import Timer

from diffusion_lab.errors import LabError
from diffusion_lab.reproduction.reproduce import reproduce
from diffusion_lab.runs.train import train


@pytest.fixture(autouse=True)
def _a_minute_a_step(monkeypatch):
    """For Lightning's timer, which would look at the clock."""
    ended = Timer.on_train_batch_end

    def step(self, *arguments, **options):
        self._offset += 60
        ended(self, *arguments, **options)

    monkeypatch.setattr(Timer, "on_train_batch_end", step)
    monkeypatch.setattr(Timer, "time_elapsed", lambda self, stage=None: self._offset)


def resumed(tiny, folder, *changes):
    return train(tiny(f"resume={folder.path}", "console=quiet"), changes)


def steps(folder):
    return len(np.fromfile(folder.path / "step_losses.f32", dtype=np.float32))


@pytest.fixture
def timed(tiny):
    """A run of which the time was up after three of its eight steps."""
    return train(tiny("trainer.max_time=00:00:03:00"), [])


def test_a_run_whose_time_was_up_says_so(tiny, capsys):
    manifest = train(tiny("trainer.max_time=00:00:03:00"), []).read_manifest()
    assert (manifest["status"], manifest["stopped_by"], manifest["steps"]) == ("finished", "max_time", 3)
    assert "time was up (trainer.max_time) after 3 steps" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [(), ("trainer.max_epochs=9",), ("trainer.max_time=00:00:03:00",)])
def test_it_is_not_trained_on_before_its_time_is_raised(timed, tiny, changes):
    with pytest.raises(LabError, match=r"has used up its time; raise trainer\.max_time \(it was 00:00:03:00\)"):
        resumed(tiny, timed, *changes)
    assert steps(timed) == 3


@pytest.mark.slow
def test_with_more_time_it_is_trained_to_its_other_limits(timed, tiny):
    whole = train(tiny(), [])
    resumed(tiny, timed, "trainer.max_time=00:01:00:00")
    manifest = timed.read_manifest()
    assert (manifest["stopped_by"], manifest["steps"]) == (None, 8)
    assert manifest["weights"] == whole.read_manifest()["weights"]


def test_a_limit_of_time_is_only_raised(timed, tiny):
    resumed(tiny, timed, "trainer.max_time=00:01:00:00")
    with pytest.raises(LabError, match=r"max_time=00:00:50:00: it was 00:01:00:00, and the limit .* only be raised"):
        resumed(tiny, timed, "trainer.max_epochs=3", "trainer.max_time=00:00:50:00")


@pytest.mark.slow
def test_it_is_reproduced_up_to_its_last_step_and_not_by_the_clock(timed, settings, tmp_path):
    typed = (f"run_dir={timed.path}", f"paths.output_dir={tmp_path}/again", "console=quiet")
    assert reproduce(settings(*typed, config_name="reproduce")).comparison.steps == 3


def test_a_run_that_was_stopped_early_is_not_trained_on_against_its_rule(tiny):
    rule = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=9")
    folder = train(tiny(*rule, "callbacks.samples.every_n_epochs=0", "trainer.max_epochs=9"), [])
    manifest = folder.read_manifest()
    assert (manifest["status"], manifest["stopped_by"], manifest["steps"]) == ("finished", "early_stopping", 8)
    for changes in ((), ("trainer.max_epochs=20",)):
        with pytest.raises(LabError, match=r"was stopped early, and its rule would stop it again; .* init_from="):
            resumed(tiny, folder, *changes)
    assert steps(folder) == 8


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("callbacks.early_stopping.patience=5", "a resumed run goes on with its own config"),
        ("network.depth=3", "a resumed run goes on with its own config"),
        ("trainer.max_epoch=3", "trainer.max_epochs, trainer.max_steps, trainer.max_time can be raised"),
        ("trainer.max_epochs=1", "it was 2, and the limit of a resumed run can only be raised"),
        ("+trainer.max_epochs=1", "it was 2, and the limit of a resumed run can only be raised"),
    ],
)
def test_what_is_typed_behind_resume_is_answered_by_the_run_s_own_config(door, copy, typed, said):
    status, line = door(f"resume={copy.path}", typed)
    assert status == 1
    assert said in line
