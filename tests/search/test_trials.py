"""Trials that train: how each of their ends is told, and that a trial is a run like any other."""

import json
import os
import secrets
import signal
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import pytorch_lightning as pl
from optuna.trial import TrialState

from conftest import TINY
from diffusion_lab.config.cli import one_line
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.runs.train import train
from diffusion_lab.search import trial as trial_module
from diffusion_lab.search.plan import composed
from diffusion_lab.search.search_objectives import Objective
from diffusion_lab.search.study import ERROR, PARAMETERS, RUN_FOLDER, VALIDATED_AT, SharedStudy
from diffusion_lab.search.worker import work
from diffusion_lab.training.checkpoint_io import read_checkpoint
from searches import small_plan


@pytest.fixture
def planned(tmp_path):
    """A function from changes to the plan of a search of tiny runs."""
    typed = [*TINY, "logger=csv", f"paths.output_dir={tmp_path}/outputs"]
    space = {"optimizer.lr": "choice(1e-3, 2e-3)"}

    def of(*more, **changes):
        return small_plan(tmp_path, fixed=[*typed, *more], **{"space": space, "n_trials": 1, **changes})

    return of


@pytest.fixture
def trials():
    """A function from a plan to the trials of its study, newest state, and all of Optuna's."""
    views = []

    def of(plan):
        views.append(SharedStudy(plan))
        return views[-1].trials(), views[-1].study.trials

    yield of
    for view in views:
        view.close()


def folder(trial):
    return Path(trial.user_attrs[RUN_FOLDER])


def manifest(trial):
    return json.loads((folder(trial) / "manifest.json").read_text())


def metrics(trial):
    return json.loads((folder(trial) / "metrics.json").read_text())


def rows(trial):
    return metrics(trial)["epochs"]


def test_a_trial_is_a_run_that_its_command_repeats(planned, trials, tmp_path):
    space = {"optimizer.lr": "tag(log, interval(1e-4, 1e-2))", "schedule": "choice(linear, cosine)"}
    plan = planned(space=space, n_trials=2)
    work(plan)
    for trial in trials(plan)[0]:
        assert trial.state == TrialState.COMPLETE
        assert trial.values == [rows(trial)[-1]["val/loss"]]
        assert manifest(trial)["options"]["schedule"] == trial.params["schedule"]
        assert manifest(trial)["seed"] == 42
        cfg, options = composed(plan.overrides(trial.params))
        again = train(cfg, plan.overrides(trial.params), options)
        assert again.path.parent == tmp_path / "outputs" / "tiny"
        assert again.read_json("manifest.json")["weights"] == manifest(trial)["weights"]


def test_the_runs_lie_in_the_searchs_folder(planned, trials):
    plan = planned()
    work(plan)
    ((trial,), _) = trials(plan)
    assert folder(trial).parent == plan.folder


def test_the_storage_and_its_password_are_in_no_run_folder(planned, trials):
    secret = secrets.token_hex(8)
    plan = planned(storage=planned().storage.replace("study.db", f"{secret}.db"))
    work(plan)
    texts = [path.read_bytes() for path in plan.folder.rglob("*") if path.is_file()]
    assert len(texts) > 5
    assert not any(secret.encode() in text for text in texts)


def test_a_loss_that_is_no_number_is_a_failed_trial_and_the_next_one_goes_on(planned, trials):
    plan = planned(space={"optimizer.lr": "choice(1e-3, 1e30)"}, sampler="grid", n_trials=2)
    work(plan)
    counted, _ = trials(plan)
    assert {trial.params["optimizer.lr"]: trial.state for trial in counted} == {
        1e-3: TrialState.COMPLETE,
        1e30: TrialState.FAIL,
    }
    (failed,) = [trial for trial in counted if trial.state == TrialState.FAIL]
    assert "the training loss was not a finite number" in failed.user_attrs[ERROR]
    assert manifest(failed)["status"] == "failed"


def test_a_config_that_is_refused_is_a_failed_trial(planned, trials):
    space = {"network.channel_multipliers": "choice([1,1,1,1,1], [1])"}
    plan = planned(space=space, sampler="grid", n_trials=2)
    work(plan)
    counted, _ = trials(plan)
    errors = [trial.user_attrs[ERROR] for trial in counted if trial.state == TrialState.FAIL]
    assert len(errors) == 1
    assert "network.channel_multipliers" in errors[0]


def test_a_crash_is_a_failed_trial_and_the_next_one_goes_on(planned, trials, monkeypatch):
    calls = []

    def crashes_once(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("of a kind that nobody expected\n")
        return train(*arguments, **keywords)

    monkeypatch.setattr(trial_module, "train", crashes_once)
    plan = planned(n_trials=2)
    work(plan)
    counted, _ = trials(plan)
    assert [trial.state for trial in counted] == [TrialState.FAIL, TrialState.COMPLETE]
    assert counted[0].user_attrs[ERROR] == "ZeroDivisionError: of a kind that nobody expected"


def test_a_metric_that_was_not_measured_is_a_failed_trial(planned, trials):
    plan = planned("trainer.check_val_every_n_epoch=5")
    work(plan)
    ((trial,), _) = trials(plan)
    assert trial.state == TrialState.FAIL
    assert "measured no val/loss" in trial.user_attrs[ERROR]


OBJECTIVES = [
    Objective("val/loss", of="best"),
    Objective("train/loss"),
    Objective("seconds"),
    Objective("parameters"),
    Objective("recognition.samples", "maximize"),
]


def test_several_objectives_are_measured_where_they_are_found(planned, trials):
    plan = planned("evaluation=recognition", "trainer.max_epochs=3", objectives=OBJECTIVES)
    work(plan)
    ((trial,), _) = trials(plan)
    assert trial.state == TrialState.COMPLETE, trial.user_attrs
    best, loss, seconds, parameters, recognized = trial.values
    assert best == min(row["val/loss"] for row in rows(trial))
    assert loss == rows(trial)[-1]["train/loss"]
    assert seconds == manifest(trial)["sessions"][0]["wall_time_s"]
    assert parameters == trial.user_attrs[PARAMETERS] > 1000
    assert recognized == metrics(trial)["recognition"]["samples"]


def others_that_did_better(plan, values):
    """Finished trials with these losses at their validations."""
    shared = SharedStudy(plan)
    for _ in range(6):
        done = optuna.create_trial(
            params={"optimizer.lr": 1e-3},
            distributions={d.key: d.distribution() for d in plan.dimensions},
            values=[values[-1]],
            intermediate_values=dict(enumerate(values, 1)),
        )
        shared.study.add_trial(done)
    shared.close()


def test_a_hopeless_trial_is_pruned_between_two_steps_and_differs_only_by_its_end(planned, trials):
    more = {"pruner": "median", "n_trials": 7}
    plan = planned("trainer.max_epochs=4", **more)
    others_that_did_better(plan, [1e-3, 1e-3, 1e-3, 1e-3])
    work(plan)
    pruned = trials(plan)[0][-1]
    assert pruned.state == TrialState.PRUNED
    assert pruned.user_attrs[VALIDATED_AT] == [4, 8]  # the median pruner lets the first validation pass
    assert list(pruned.intermediate_values) == [1, 2]
    assert manifest(pruned)["status"] == "pruned"
    assert read_checkpoint(folder(pruned) / "checkpoints" / "last.ckpt")["global_step"] == 8

    cfg, _ = composed(plan.overrides(pruned.params))
    whole = train(cfg, [])
    losses = [row["val/loss"] for row in whole.read_json("metrics.json")["epochs"]]
    assert losses[:2] == list(pruned.intermediate_values.values())
    again = replace(cfg, resume=str(folder(pruned)))
    assert train(again, []).read_json("manifest.json")["weights"] == whole.read_json("manifest.json")["weights"]


def test_a_trial_as_good_as_the_others_is_not_pruned(planned, trials):
    plan = planned(pruner="median", n_trials=7)
    others_that_did_better(plan, [1e3, 1e3])
    work(plan)
    assert trials(plan)[0][-1].state == TrialState.COMPLETE


def test_losses_are_counted_by_validations_whatever_the_batch(planned, trials):
    plan = planned("trainer.max_epochs=3", space={"data.batch_size": "choice(50, 125)"}, sampler="grid", n_trials=2)
    work(plan)
    for trial in trials(plan)[0]:
        assert list(trial.intermediate_values) == [1, 2, 3]
        steps = 250 // trial.params["data.batch_size"]
        assert trial.user_attrs[VALIDATED_AT] == [steps, 2 * steps, 3 * steps]


class Presses(pl.Callback):
    """Presses Ctrl-C in a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interfere(monkeypatch):
    """A function from a callback to searches whose next trial has it, too."""

    def by(callback):
        waiting = [callback]

        def once(cfg, overrides, options, callbacks):
            more = [waiting.pop()] if waiting else []
            return train(cfg, overrides, options, callbacks=[*callbacks, *more])

        monkeypatch.setattr(trial_module, "train", once)

    return by


def test_ctrl_c_saves_the_trial_and_the_next_start_takes_it_up(planned, trials, interfere, capsys):
    plan = planned("trainer.max_epochs=3", n_trials=2)
    interfere(Presses(step=6))
    with pytest.raises(RunInterrupted):
        work(plan)
    counted, _ = trials(plan)
    assert [trial.state for trial in counted] == [TrialState.WAITING]
    assert manifest(counted[0])["status"] == "interrupted"
    assert counted[0].user_attrs[VALIDATED_AT] == [4]

    work(plan)
    counted, every = trials(plan)
    assert [trial.state for trial in counted] == [TrialState.COMPLETE] * 2
    assert len(every) == 3
    assert counted[0].user_attrs[RUN_FOLDER] == every[0].user_attrs[RUN_FOLDER]
    assert [session["status"] for session in manifest(counted[0])["sessions"]] == ["interrupted", "finished"]
    assert counted[0].user_attrs[VALIDATED_AT] == [4, 8, 12]
    whole = train(composed(plan.overrides(counted[0].params))[0], [])
    assert manifest(counted[0])["weights"] == whole.read_json("manifest.json")["weights"]


def test_a_run_that_was_finished_when_its_worker_was_lost_is_not_trained_again(planned, trials, monkeypatch):
    plan = planned()
    work(plan)
    ((done,), _) = trials(plan)
    shared = SharedStudy(plan)
    monkeypatch.setattr(trial_module, "train", None)
    # As after a kill between the end of the run and the telling of it.
    waiting = optuna.create_trial(
        state=TrialState.WAITING, params=done.params, distributions=done.distributions, user_attrs=done.user_attrs
    )
    shared.study.add_trial(waiting)
    shared.close()
    work(planned(n_trials=2))
    counted, _ = trials(plan)
    assert counted[1].values == done.values
    assert counted[1].user_attrs[RUN_FOLDER] == done.user_attrs[RUN_FOLDER]


def test_a_trial_whose_folder_is_gone_starts_anew(planned, trials, interfere):
    plan = planned()
    interfere(Presses(step=6))
    with pytest.raises(RunInterrupted):
        work(plan)
    ((trial,), _) = trials(plan)
    folder(trial).rename(plan.folder / "elsewhere")
    work(plan)
    ((done,), _) = trials(plan)
    assert done.state == TrialState.COMPLETE
    assert done.user_attrs[RUN_FOLDER] != trial.user_attrs[RUN_FOLDER]


def test_a_folder_outside_of_the_search_is_not_gone_on_with(planned, trials, tmp_path):
    plan = planned()
    elsewhere = train(composed([*plan.fixed, "name=elsewhere"])[0], [])
    shared = SharedStudy(plan)
    waiting = optuna.create_trial(
        state=TrialState.WAITING,
        params={"optimizer.lr": 1e-3},
        distributions={d.key: d.distribution() for d in plan.dimensions},
        user_attrs={RUN_FOLDER: str(elsewhere.path)},
    )
    shared.study.add_trial(waiting)
    shared.close()
    work(plan)
    ((done,), _) = trials(plan)
    assert done.state == TrialState.COMPLETE
    assert done.user_attrs[RUN_FOLDER] != str(elsewhere.path)


def test_what_another_worker_took_up_in_the_meantime_is_left_to_it(planned, trials, monkeypatch):
    plan = planned(n_trials=1)

    def slept_through(cfg, overrides, options, callbacks):
        shared = SharedStudy(plan)
        shared.study.tell(0, state=TrialState.FAIL)  # by another one, while this one slept
        shared.close()
        return train(cfg, overrides, options, callbacks=callbacks)

    monkeypatch.setattr(trial_module, "train", slept_through)
    work(plan)
    ((trial,), every) = trials(plan)
    assert trial.state == TrialState.FAIL
    assert len(every) == 1
    assert ERROR not in trial.user_attrs


def test_a_trial_whose_silent_worker_still_trains_starts_anew(planned, trials, interfere):
    plan = planned()
    interfere(Presses(step=6))
    with pytest.raises(RunInterrupted):
        work(plan)
    ((trial,), _) = trials(plan)
    with RunFolder(folder(trial)).held():
        work(plan)
    ((done,), _) = trials(plan)
    assert done.state == TrialState.COMPLETE
    assert done.user_attrs[RUN_FOLDER] != trial.user_attrs[RUN_FOLDER]


def test_a_failure_of_what_another_worker_took_up_is_left_to_it_too(planned, trials, monkeypatch):
    plan = planned(n_trials=1)

    def slept_and_failed(*arguments, **named):
        shared = SharedStudy(plan)
        shared.study.tell(0, state=TrialState.FAIL)
        shared.close()
        raise LabError("no space")

    monkeypatch.setattr(trial_module, "train", slept_and_failed)
    work(plan)
    ((trial,), _) = trials(plan)
    assert ERROR not in trial.user_attrs


def test_a_storage_that_fails_is_no_fault_of_the_trial(planned, trials, monkeypatch):
    plan = planned()

    def away(*arguments, **named):
        raise optuna.exceptions.StorageInternalError from OSError("the server is away")

    monkeypatch.setattr(trial_module, "train", away)
    with pytest.raises(LabError, match=r"search\.storage=sqlite:.* cannot be used: the server is away"):
        work(plan)
    ((trial,), _) = trials(plan)
    assert trial.state == TrialState.RUNNING


def test_the_launcher_of_a_sweep_is_refused(planned):
    with pytest.raises(LabError, match="launcher=… is for the jobs of a sweep"):
        composed(planned("launcher=joblib").fixed)


def test_an_override_that_does_not_exist_is_explained():
    with pytest.raises(Exception, match=r"no key optimizer\.lrr; did you mean lr\?") as refusal:
        composed(["optimizer.lrr=1"])
    assert "\n" not in one_line(refusal.value)
