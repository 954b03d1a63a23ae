"""Trials that train: how each of their ends is recorded, and that a trial is a run like any other."""

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
from diffusion_lab.search.search_objectives import Objective
from diffusion_lab.search.study import SharedStudy
from diffusion_lab.search.trial_attributes import ERROR, PARAMETERS, RUN_FOLDER, VALIDATED_AT
from diffusion_lab.search.worker import run_trials
from diffusion_lab.sweeps.compose_run import compose_run
from diffusion_lab.training.checkpoint_io import read_checkpoint
from searches import small_spec


@pytest.fixture
def planned(tmp_path):
    """A function that returns the spec of a search of tiny runs, with more overrides and other changes."""
    fixed = [*TINY, "logger=csv", f"paths.output_dir={tmp_path}/outputs"]
    space = {"optimizer.lr": "choice(1e-3, 2e-3)"}

    def make(*more, **changes):
        return small_spec(tmp_path, fixed=[*fixed, *more], **{"space": space, "n_trials": 1, **changes})

    return make


@pytest.fixture
def trials():
    """A function that returns the trials of a spec that count, and all trials of its study."""
    views = []

    def read(spec):
        views.append(SharedStudy(spec))
        return views[-1].trials(), views[-1].study.trials

    yield read
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


@pytest.mark.slow
def test_the_command_of_a_trial_repeats_its_run(planned, trials, tmp_path):
    space = {"optimizer.lr": "tag(log, interval(1e-4, 1e-2))", "schedule": "choice(linear, cosine)"}
    spec = planned(space=space, n_trials=2)
    run_trials(spec)
    for trial in trials(spec)[0]:
        assert trial.state == TrialState.COMPLETE
        assert trial.values == [rows(trial)[-1]["val/loss"]]
        assert manifest(trial)["options"]["schedule"] == trial.params["schedule"]
        assert manifest(trial)["seed"] == 42
        cfg, options = compose_run(spec.overrides(trial.params))
        again = train(cfg, spec.overrides(trial.params), options)
        assert again.path.parent == tmp_path / "outputs" / "tiny"
        assert again.read_json("manifest.json")["weights"] == manifest(trial)["weights"]


def test_the_runs_lie_in_the_searchs_folder(planned, trials):
    spec = planned()
    run_trials(spec)
    ((trial,), _) = trials(spec)
    assert folder(trial).parent == spec.folder


@pytest.mark.slow
def test_the_storage_and_its_password_are_in_no_run_folder(planned, trials):
    secret = secrets.token_hex(8)
    spec = planned(storage=planned().storage.replace("study.db", f"{secret}.db"))
    run_trials(spec)
    texts = [path.read_bytes() for path in spec.folder.rglob("*") if path.is_file()]
    assert len(texts) > 5
    assert not any(secret.encode() in text for text in texts)


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_a_failed_trial_and_the_next_one_goes_on(planned, trials):
    spec = planned(space={"optimizer.lr": "choice(1e-3, 1e30)"}, sampler="grid", n_trials=2)
    run_trials(spec)
    counted, _ = trials(spec)
    assert {trial.params["optimizer.lr"]: trial.state for trial in counted} == {
        1e-3: TrialState.COMPLETE,
        1e30: TrialState.FAIL,
    }
    (failed,) = [trial for trial in counted if trial.state == TrialState.FAIL]
    assert "the training loss was not a finite number" in failed.user_attrs[ERROR]
    assert manifest(failed)["status"] == "failed"


def test_a_config_that_is_refused_is_a_failed_trial(planned, trials):
    space = {"network.channel_multipliers": "choice([1,1,1,1,1], [1])"}
    spec = planned(space=space, sampler="grid", n_trials=2)
    run_trials(spec)
    counted, _ = trials(spec)
    errors = [trial.user_attrs[ERROR] for trial in counted if trial.state == TrialState.FAIL]
    assert len(errors) == 1
    assert "network.channel_multipliers" in errors[0]


@pytest.mark.slow
def test_a_crash_is_a_failed_trial_and_the_next_one_goes_on(planned, trials, monkeypatch):
    calls = []

    def crashes_once(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("of a kind that nobody expected\n")
        return train(*arguments, **keywords)

    monkeypatch.setattr(trial_module, "train", crashes_once)
    spec = planned(n_trials=2)
    run_trials(spec)
    counted, _ = trials(spec)
    assert [trial.state for trial in counted] == [TrialState.FAIL, TrialState.COMPLETE]
    assert counted[0].user_attrs[ERROR] == "ZeroDivisionError: of a kind that nobody expected"


def test_a_metric_that_was_not_measured_is_a_failed_trial(planned, trials):
    spec = planned("trainer.check_val_every_n_epoch=5")
    run_trials(spec)
    ((trial,), _) = trials(spec)
    assert trial.state == TrialState.FAIL
    assert "measured no val/loss" in trial.user_attrs[ERROR]


OBJECTIVES = [
    Objective("val/loss", of="best"),
    Objective("train/loss"),
    Objective("seconds"),
    Objective("parameters"),
    Objective("recognition.samples", "maximize"),
]


@pytest.mark.slow
def test_each_objective_is_read_from_the_run(planned, trials):
    spec = planned("evaluation=recognition", "trainer.max_epochs=3", objectives=OBJECTIVES)
    run_trials(spec)
    ((trial,), _) = trials(spec)
    assert trial.state == TrialState.COMPLETE, trial.user_attrs
    best, loss, seconds, parameters, recognized = trial.values
    assert best == min(row["val/loss"] for row in rows(trial))
    assert loss == rows(trial)[-1]["train/loss"]
    assert seconds == manifest(trial)["sessions"][0]["wall_time_s"]
    assert parameters == trial.user_attrs[PARAMETERS] > 1000
    assert recognized == metrics(trial)["recognition"]["samples"]


@pytest.mark.parametrize(
    ("direction", "of", "expected"),
    [("minimize", "best", 0.25), ("maximize", "best", 0.75), ("minimize", "last", 0.5), ("maximize", "last", 0.5)],
)
def test_the_best_is_the_largest_where_large_values_are_better(tmp_path, direction, of, expected):
    folder = RunFolder.create(tmp_path, "run")
    folder.write_json(
        "metrics.json", {"epochs": [{"val/loss": loss} for loss in (0.75, 0.25)] + [{"val/loss": 0.5}, {}]}
    )
    assert Objective("val/loss", direction, of).measure(folder, 1) == expected


def others_that_did_better(spec, values):
    """Add finished trials with these losses at their validations."""
    shared = SharedStudy(spec)
    for _ in range(6):
        done = optuna.create_trial(
            params={"optimizer.lr": 1e-3},
            distributions={d.key: d.distribution() for d in spec.dimensions},
            values=[values[-1]],
            intermediate_values=dict(enumerate(values, 1)),
        )
        shared.study.add_trial(done)
    shared.close()


@pytest.mark.slow
def test_a_pruned_trial_ends_early_and_is_otherwise_unchanged(planned, trials):
    more = {"pruner": "median", "n_trials": 7}
    spec = planned("trainer.max_epochs=4", **more)
    others_that_did_better(spec, [1e-3, 1e-3, 1e-3, 1e-3])
    run_trials(spec)
    pruned = trials(spec)[0][-1]
    assert pruned.state == TrialState.PRUNED
    assert pruned.user_attrs[VALIDATED_AT] == [4, 8]  # the median pruner lets the first validation pass
    assert list(pruned.intermediate_values) == [1, 2]
    assert manifest(pruned)["status"] == "pruned"
    assert read_checkpoint(folder(pruned) / "checkpoints" / "last.ckpt")["global_step"] == 8

    cfg, _ = compose_run(spec.overrides(pruned.params))
    whole = train(cfg, [])
    losses = [row["val/loss"] for row in whole.read_json("metrics.json")["epochs"]]
    assert losses[:2] == list(pruned.intermediate_values.values())
    again = replace(cfg, resume=str(folder(pruned)))
    assert train(again, []).read_json("manifest.json")["weights"] == whole.read_json("manifest.json")["weights"]


@pytest.mark.slow
def test_a_trial_as_good_as_the_others_is_not_pruned(planned, trials):
    spec = planned(pruner="median", n_trials=7)
    others_that_did_better(spec, [1e3, 1e3])
    run_trials(spec)
    assert trials(spec)[0][-1].state == TrialState.COMPLETE


@pytest.mark.slow
def test_losses_are_reported_by_validation_for_any_batch_size(planned, trials):
    spec = planned("trainer.max_epochs=3", space={"data.batch_size": "choice(50, 125)"}, sampler="grid", n_trials=2)
    run_trials(spec)
    for trial in trials(spec)[0]:
        assert list(trial.intermediate_values) == [1, 2, 3]
        steps = 250 // trial.params["data.batch_size"]
        assert trial.user_attrs[VALIDATED_AT] == [steps, 2 * steps, 3 * steps]


class PressCtrlC(pl.Callback):
    """Sends SIGINT to this process after a training step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interfere(monkeypatch):
    """A function that adds a callback to the next trial."""

    def add(callback):
        waiting = [callback]

        def once(cfg, overrides, options, callbacks):
            more = [waiting.pop()] if waiting else []
            return train(cfg, overrides, options, callbacks=[*callbacks, *more])

        monkeypatch.setattr(trial_module, "train", once)

    return add


@pytest.mark.slow
def test_ctrl_c_saves_the_trial_and_the_next_start_resumes_it(planned, trials, interfere, capsys):
    spec = planned("trainer.max_epochs=3", n_trials=2)
    interfere(PressCtrlC(step=6))
    with pytest.raises(RunInterrupted):
        run_trials(spec)
    counted, _ = trials(spec)
    assert [trial.state for trial in counted] == [TrialState.WAITING]
    assert manifest(counted[0])["status"] == "interrupted"
    assert counted[0].user_attrs[VALIDATED_AT] == [4]

    run_trials(spec)
    counted, every = trials(spec)
    assert [trial.state for trial in counted] == [TrialState.COMPLETE] * 2
    assert len(every) == 3
    assert counted[0].user_attrs[RUN_FOLDER] == every[0].user_attrs[RUN_FOLDER]
    assert [session["status"] for session in manifest(counted[0])["sessions"]] == ["interrupted", "finished"]
    assert counted[0].user_attrs[VALIDATED_AT] == [4, 8, 12]
    whole = train(compose_run(spec.overrides(counted[0].params))[0], [])
    assert manifest(counted[0])["weights"] == whole.read_json("manifest.json")["weights"]


def test_a_run_that_was_finished_when_its_worker_was_lost_is_not_trained_again(planned, trials, monkeypatch):
    spec = planned()
    run_trials(spec)
    ((done,), _) = trials(spec)
    shared = SharedStudy(spec)
    monkeypatch.setattr(trial_module, "train", None)
    # As if the worker had been killed after the end of the run, before it told Optuna of it.
    waiting = optuna.create_trial(
        state=TrialState.WAITING, params=done.params, distributions=done.distributions, user_attrs=done.user_attrs
    )
    shared.study.add_trial(waiting)
    shared.close()
    run_trials(planned(n_trials=2))
    counted, _ = trials(spec)
    assert counted[1].values == done.values
    assert counted[1].user_attrs[RUN_FOLDER] == done.user_attrs[RUN_FOLDER]


@pytest.mark.slow
def test_a_trial_whose_folder_is_gone_starts_anew(planned, trials, interfere):
    spec = planned()
    interfere(PressCtrlC(step=6))
    with pytest.raises(RunInterrupted):
        run_trials(spec)
    ((trial,), _) = trials(spec)
    folder(trial).rename(spec.folder / "elsewhere")
    run_trials(spec)
    ((done,), _) = trials(spec)
    assert done.state == TrialState.COMPLETE
    assert done.user_attrs[RUN_FOLDER] != trial.user_attrs[RUN_FOLDER]


@pytest.mark.slow
def test_a_run_outside_of_the_searchs_folder_is_not_resumed(planned, trials, tmp_path):
    spec = planned()
    elsewhere = train(compose_run([*spec.fixed, "name=elsewhere"])[0], [])
    shared = SharedStudy(spec)
    waiting = optuna.create_trial(
        state=TrialState.WAITING,
        params={"optimizer.lr": 1e-3},
        distributions={d.key: d.distribution() for d in spec.dimensions},
        user_attrs={RUN_FOLDER: str(elsewhere.path)},
    )
    shared.study.add_trial(waiting)
    shared.close()
    run_trials(spec)
    ((done,), _) = trials(spec)
    assert done.state == TrialState.COMPLETE
    assert done.user_attrs[RUN_FOLDER] != str(elsewhere.path)


def test_a_trial_that_another_worker_ended_in_the_meantime_is_left_as_it_is(planned, trials, monkeypatch):
    spec = planned(n_trials=1)

    def train_late(cfg, overrides, options, callbacks):
        shared = SharedStudy(spec)
        shared.study.tell(0, state=TrialState.FAIL)  # as another worker does while this one sleeps
        shared.close()
        return train(cfg, overrides, options, callbacks=callbacks)

    monkeypatch.setattr(trial_module, "train", train_late)
    run_trials(spec)
    ((trial,), every) = trials(spec)
    assert trial.state == TrialState.FAIL
    assert len(every) == 1
    assert ERROR not in trial.user_attrs


@pytest.mark.slow
def test_a_trial_whose_lost_worker_still_trains_starts_anew(planned, trials, interfere):
    spec = planned()
    interfere(PressCtrlC(step=6))
    with pytest.raises(RunInterrupted):
        run_trials(spec)
    ((trial,), _) = trials(spec)
    with RunFolder(folder(trial)).held():
        run_trials(spec)
    ((done,), _) = trials(spec)
    assert done.state == TrialState.COMPLETE
    assert done.user_attrs[RUN_FOLDER] != trial.user_attrs[RUN_FOLDER]


def test_an_error_of_a_trial_that_another_worker_ended_is_not_recorded(planned, trials, monkeypatch):
    spec = planned(n_trials=1)

    def fail_late(*arguments, **named):
        shared = SharedStudy(spec)
        shared.study.tell(0, state=TrialState.FAIL)
        shared.close()
        raise LabError("no space")

    monkeypatch.setattr(trial_module, "train", fail_late)
    run_trials(spec)
    ((trial,), _) = trials(spec)
    assert ERROR not in trial.user_attrs


def test_a_storage_error_does_not_fail_the_trial(planned, trials, monkeypatch):
    spec = planned()

    def away(*arguments, **named):
        raise optuna.exceptions.StorageInternalError from OSError("the server is away")

    monkeypatch.setattr(trial_module, "train", away)
    with pytest.raises(LabError, match=r"search\.storage=sqlite:.* cannot be used: the server is away"):
        run_trials(spec)
    ((trial,), _) = trials(spec)
    assert trial.state == TrialState.RUNNING


def test_the_launcher_of_a_sweep_is_refused(planned):
    with pytest.raises(LabError, match="launcher=… is for the jobs of a sweep"):
        compose_run(planned("launcher=joblib").fixed)


def test_an_override_that_does_not_exist_is_explained():
    with pytest.raises(Exception, match=r"no key optimizer\.lrr; did you mean lr\?") as refusal:
        compose_run(["optimizer.lrr=1"])
    assert "\n" not in one_line(refusal.value)
