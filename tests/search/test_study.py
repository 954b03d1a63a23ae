"""The study that workers share, without training: asking for trials, and the trials of lost workers."""

import time
import warnings

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from diffusion_lab.errors import LabError
from diffusion_lab.search import study as study_module
from diffusion_lab.search.search_objectives import Objective
from diffusion_lab.search.study import SharedStudy
from diffusion_lab.search.trial_attributes import LOST, RUN_FOLDER, WORKER, first_number, history
from searches import small_spec


@pytest.fixture
def opened(tmp_path):
    """A function that opens the study of a spec, or of `small_spec` with changes, as one more process would."""
    views = []

    def open_study(spec=None, **changes):
        views.append(SharedStudy(spec or small_spec(tmp_path, **changes)))
        return views[-1]

    yield open_study
    for view in views:
        view.close()


def lose_heartbeats(shared):
    """Set the last heartbeats of all trials to yesterday."""
    with shared._storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 day')"))


def states(shared):
    return [trial.state.name for trial in shared.trials()]


def test_all_workers_together_get_n_trials_trials(opened):
    workers = [opened(), opened()]
    trials = [workers[index % 2].ask() for index in range(4)]
    assert sorted(trial.number for trial in trials) == [0, 1, 2, 3]
    assert [worker.ask() for worker in workers] == [None, None]
    for trial in trials:
        assert not workers[0].is_over()
        workers[0].study.tell(trial, 1.0)
    assert workers[1].is_over()


def test_failed_and_pruned_trials_count(opened):
    shared = opened()
    for state in (TrialState.FAIL, TrialState.PRUNED, TrialState.FAIL):
        shared.study.tell(shared.ask(), state=state)
    shared.study.tell(shared.ask(), 1.0)
    assert shared.is_over()
    assert shared.ask() is None


def test_more_trials_can_be_asked_for_later(opened):
    shared = opened(n_trials=1)
    shared.study.tell(shared.ask(), 1.0)
    assert shared.is_over()
    later = opened(n_trials=2)
    assert not later.is_over()
    assert later.ask().number == 1


def test_one_of_two_workers_that_ask_for_the_last_trial_at_the_same_time_gets_it(opened, monkeypatch):
    first, second = opened(n_trials=1), opened(n_trials=1)
    stale, seen = [[], []], second.trials  # what the second one read twice, just before the first one asked
    assert first.ask().number == 0
    monkeypatch.setattr(second, "trials", lambda: stale.pop() if stale else seen())
    assert second.ask() is None
    assert [trial.number for trial in first.trials()] == [0]
    assert states(first) == ["RUNNING"]


def test_the_trial_of_a_lost_worker_is_requeued_with_all_its_attributes(opened):
    lost, other = opened(), opened()
    trial = lost.ask()
    trial.set_user_attr(RUN_FOLDER, "/runs/a")
    trial.report(0.5, 1)
    lose_heartbeats(lost)
    again = other.ask()
    assert again.number == 1
    assert again.params == trial.params
    assert again.user_attrs[RUN_FOLDER] == "/runs/a"
    (counted,) = other.trials()
    assert counted.number == 1
    assert first_number(counted) == 0
    assert history(counted) == [0]
    assert counted.intermediate_values == {1: 0.5}
    assert other.study.trials[0].state == TrialState.FAIL


def test_a_trial_with_recent_heartbeats_is_left_alone(opened):
    living, other = opened(), opened()
    trial = living.ask()
    lose_heartbeats(living)
    living._storage.record_heartbeat(trial._trial_id)
    assert other.ask().number == 1
    assert states(other) == ["RUNNING", "RUNNING"]


@pytest.mark.slow
def test_heartbeats_are_recorded_only_while_a_trial_runs(opened, monkeypatch):
    shared = opened(heartbeat=1)
    trial = shared.ask()
    beats = []
    monkeypatch.setattr(shared._storage, "record_heartbeat", beats.append)
    with shared.heartbeats(trial):
        deadline = time.monotonic() + 30
        while len(beats) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    count = len(beats)
    assert count >= 2
    assert set(beats) == {trial._trial_id}
    time.sleep(1.2)
    assert len(beats) == count


@pytest.mark.slow
def test_heartbeats_continue_after_an_error_of_the_storage(opened, monkeypatch):
    shared = opened(heartbeat=1)
    trial = shared.ask()
    beats = []

    def away(trial_id):
        beats.append(trial_id)
        raise optuna.exceptions.StorageInternalError

    monkeypatch.setattr(shared._storage, "record_heartbeat", away)
    with shared.heartbeats(trial):
        deadline = time.monotonic() + 30
        while len(beats) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert len(beats) >= 2


def test_a_worker_that_was_killed_before_its_first_heartbeat_is_noticed(opened, monkeypatch):
    shared = opened(heartbeat=10)
    with warnings.catch_warnings(action="ignore"):
        shared.study.ask({d.key: d.distribution() for d in shared.spec.dimensions})  # and nothing else
    now = time.monotonic()
    monkeypatch.setattr(study_module.time, "monotonic", lambda: now)
    shared.requeue_lost_trials()
    assert states(shared) == ["RUNNING"]
    now += 61
    shared.requeue_lost_trials()
    assert states(shared) == ["WAITING"]
    assert shared.ask().params == shared.study.trials[0].params


def test_a_trial_that_lost_too_many_workers_has_failed(opened):
    shared = opened()
    shared.ask()
    for _ in range(2):
        lose_heartbeats(shared)
        trial = shared.ask()
    assert trial.user_attrs[LOST] == 2
    lose_heartbeats(shared)
    shared.requeue_lost_trials()
    (counted,) = shared.trials()
    assert counted.state == TrialState.FAIL
    assert first_number(counted) == 0
    assert shared.ask().number == 3


def test_a_requeued_trial_is_the_next_to_be_asked_for(opened):
    shared, other = opened(), opened()
    trial = shared.ask()
    shared.requeue(trial.number)
    assert states(other) == ["WAITING"]
    again = other.ask()
    assert again.params == trial.params
    assert LOST not in again.user_attrs
    assert again.user_attrs[WORKER]
    assert states(other) == ["RUNNING"]


def test_a_trial_that_another_worker_continues_is_not_requeued_again(opened):
    slow, other = opened(), opened()
    trial = slow.ask()
    lose_heartbeats(slow)
    other.ask()
    slow.requeue(trial.number)
    assert states(other) == ["RUNNING"]


def test_ending_a_trial_that_another_process_has_just_ended_is_no_error(opened, monkeypatch):
    shared = opened(heartbeat=1)
    with warnings.catch_warnings(action="ignore"):
        shared.study.ask({d.key: d.distribution() for d in shared.spec.dimensions})
    trial = shared.ask()

    def ended_by_another(trial_id, *arguments, **named):
        tried.append(trial_id)
        raise optuna.exceptions.UpdateFinishedTrialError

    tried = []
    monkeypatch.setattr(shared._storage, "set_trial_state_values", ended_by_another)
    shared.requeue(trial.number)
    assert tried == [trial._trial_id]
    now = time.monotonic()
    monkeypatch.setattr(study_module.time, "monotonic", lambda: now + 7)
    shared.requeue_lost_trials()
    assert states(shared) == ["RUNNING", "RUNNING"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"optimizer.lr": "interval(1, 2)"}}, ["another search.space", "now optimizer.lr: interval(1, 2)"]),
        ({"objectives": [Objective("seconds")]}, ["another search.objectives", "minimize val/loss; now"]),
        ({"objectives": [Objective("val/loss", of="best")]}, ["another search.objectives"]),
        ({"fixed": ["trainer.max_steps=9"]}, ["another config for all its trials", "now trainer.max_steps=9"]),
    ],
)
def test_another_search_under_the_same_name_is_refused(opened, changes, said):
    opened()
    with pytest.raises(LabError) as refusal:
        opened(**changes)
    for words in ["search.name=small", "choose another search.name", *said]:
        assert words in str(refusal.value)


def test_another_number_of_objectives_is_refused_in_one_line(opened):
    opened()
    with pytest.raises(LabError, match=r"search\.name=small"):
        opened(objectives=[Objective("val/loss"), Objective("seconds")])


def test_settings_that_do_not_affect_results_may_differ_between_sessions(opened):
    first = opened(fixed=["seed=1", "data=digits"])
    first.ask()
    changes = {"n_trials": 99, "sampler": "tpe", "pruner": "median", "seed": 3, "heartbeat": 20}
    again = opened(fixed=["data=digits", "seed=1", "paths.data_dir=/elsewhere", "trainer.devices=2"], **changes)
    assert again.trials() == first.trials()
    assert states(again) == ["RUNNING"]


def test_a_storage_of_two_searches_keeps_them_apart(opened):
    opened().ask()
    assert opened(name="other").trials() == []


def test_optunas_own_functions_read_the_study(opened, tmp_path):
    shared = opened()
    for value in (0.5, 0.25, 0.75, 1.0):
        shared.study.tell(shared.ask(), value)
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{tmp_path}/study.db")
    assert study.best_value == 0.25
    assert study.best_trial.params.keys() == {"optimizer.lr", "schedule"}
    study._storage.remove_session()
    study._storage._backend.engine.dispose()
