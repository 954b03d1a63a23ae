"""The storage that workers share, without training: who may ask, and what becomes of what a lost worker left."""

import sys
import time
import warnings
from dataclasses import replace

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from diffusion_lab.errors import LabError
from diffusion_lab.search import study as study_module
from diffusion_lab.search.search_objectives import Objective
from diffusion_lab.search.study import (
    LOST,
    RUN_FOLDER,
    WORKER,
    SharedStudy,
    first_number,
    history,
    shown_url,
    with_driver,
)
from searches import small_plan


@pytest.fixture
def opened(tmp_path):
    """A function that opens the search of a plan, or that of `small_plan` with changes, once more."""
    views = []

    def of(plan=None, **changes):
        views.append(SharedStudy(plan or small_plan(tmp_path, **changes)))
        return views[-1]

    yield of
    for view in views:
        view.close()


def fall_silent(shared):
    """As if the last signs of life were of yesterday."""
    with shared._storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 day')"))


def states(shared):
    return [trial.state.name for trial in shared.trials()]


def test_so_many_trials_are_given_out_to_all_workers_together_and_no_more(opened):
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


def test_of_two_that_ask_for_the_last_trial_at_the_same_moment_one_gets_it(opened, monkeypatch):
    first, second = opened(n_trials=1), opened(n_trials=1)
    stale, seen = [[], []], second.trials  # what the second one saw in two looks, just before the first one asked
    assert first.ask().number == 0
    monkeypatch.setattr(second, "trials", lambda: stale.pop() if stale else seen())
    assert second.ask() is None
    assert [trial.number for trial in first.trials()] == [0]
    assert states(first) == ["RUNNING"]


def test_the_trial_of_a_worker_that_fell_silent_is_taken_up_with_all_it_had(opened):
    lost, other = opened(), opened()
    trial = lost.ask()
    trial.set_user_attr(RUN_FOLDER, "/runs/a")
    trial.report(0.5, 1)
    fall_silent(lost)
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


def test_a_trial_that_shows_signs_of_life_is_left_alone(opened):
    living, other = opened(), opened()
    trial = living.ask()
    fall_silent(living)
    living._storage.record_heartbeat(trial._trial_id)
    assert other.ask().number == 1
    assert states(other) == ["RUNNING", "RUNNING"]


def test_the_heart_beats_while_a_trial_runs_and_not_after(opened, monkeypatch):
    shared = opened(heartbeat=1)
    trial = shared.ask()
    beats = []
    monkeypatch.setattr(shared._storage, "record_heartbeat", beats.append)
    with shared.alive(trial):
        deadline = time.monotonic() + 30
        while len(beats) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    count = len(beats)
    assert count >= 2
    assert set(beats) == {trial._trial_id}
    time.sleep(1.2)
    assert len(beats) == count


def test_the_heart_goes_on_beating_when_the_storage_was_away_for_a_moment(opened, monkeypatch):
    shared = opened(heartbeat=1)
    trial = shared.ask()
    beats = []

    def away(trial_id):
        beats.append(trial_id)
        raise optuna.exceptions.StorageInternalError

    monkeypatch.setattr(shared._storage, "record_heartbeat", away)
    with shared.alive(trial):
        deadline = time.monotonic() + 30
        while len(beats) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert len(beats) >= 2


def test_who_was_killed_before_its_first_sign_of_life_is_noticed_too(opened, monkeypatch):
    shared = opened(heartbeat=10)
    with warnings.catch_warnings(action="ignore"):
        shared.study.ask({d.key: d.distribution() for d in shared.plan.dimensions})  # and no more
    now = time.monotonic()
    monkeypatch.setattr(study_module.time, "monotonic", lambda: now)
    shared.take_up()
    assert states(shared) == ["RUNNING"]
    now += 61
    shared.take_up()
    assert states(shared) == ["WAITING"]
    assert shared.ask().params == shared.study.trials[0].params


def test_a_trial_that_takes_its_worker_with_it_again_and_again_has_failed(opened):
    shared = opened()
    shared.ask()
    for _ in range(2):
        fall_silent(shared)
        trial = shared.ask()
    assert trial.user_attrs[LOST] == 2
    fall_silent(shared)
    shared.take_up()
    (counted,) = shared.trials()
    assert counted.state == TrialState.FAIL
    assert first_number(counted) == 0
    assert shared.ask().number == 3


def test_a_trial_that_is_handed_back_is_the_next_to_be_asked_for(opened):
    shared, other = opened(), opened()
    trial = shared.ask()
    shared.hand_back(trial)
    assert states(other) == ["WAITING"]
    again = other.ask()
    assert again.params == trial.params
    assert LOST not in again.user_attrs
    assert again.user_attrs[WORKER]
    assert states(other) == ["RUNNING"]


def test_what_was_taken_up_by_another_worker_is_not_queued_once_more(opened):
    slow, other = opened(), opened()
    trial = slow.ask()
    fall_silent(slow)
    other.ask()
    slow.hand_back(trial)
    assert states(other) == ["RUNNING"]


def test_of_two_that_end_a_trial_at_the_same_moment_the_second_one_goes_on(opened, monkeypatch):
    shared = opened(heartbeat=1)
    with warnings.catch_warnings(action="ignore"):
        shared.study.ask({d.key: d.distribution() for d in shared.plan.dimensions})
    trial = shared.ask()

    def other_was_quicker(*arguments, **named):
        raise optuna.exceptions.UpdateFinishedTrialError

    monkeypatch.setattr(shared._storage, "set_trial_state_values", other_was_quicker)
    shared.hand_back(trial)
    now = time.monotonic()
    monkeypatch.setattr(study_module.time, "monotonic", lambda: now + 7)
    shared.take_up()


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
    for words in ["search.name=small", "take another search.name", *said]:
        assert words in str(refusal.value)


def test_another_number_of_objectives_is_refused_in_one_line(opened):
    opened()
    with pytest.raises(LabError, match=r"search\.name=small"):
        opened(objectives=[Objective("val/loss"), Objective("seconds")])


def test_what_decides_nothing_of_a_result_may_differ_between_sessions(opened):
    opened(fixed=["seed=1", "data=digits"])
    changes = {"n_trials": 99, "sampler": "tpe", "pruner": "median", "seed": 3, "heartbeat": 20}
    opened(fixed=["data=digits", "seed=1", "paths.data_dir=/elsewhere", "trainer.devices=2"], **changes)


def test_a_storage_of_two_searches_keeps_them_apart(opened):
    opened().ask()
    assert opened(name="other").trials() == []


URLS = {
    "postgresql://me:hush@host/db": "postgresql://me:***@host/db",
    "postgresql://host/db?user=me&password=hush": "postgresql://host/db?password=***&user=me",
    "sqlite:////tmp/x.db": "sqlite:////tmp/x.db",
    "hush": "***",
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_shown_without_its_password(url):
    assert shown_url(url) == URLS[url]


def test_a_server_that_cannot_be_reached_is_one_line_without_the_password(opened):
    with pytest.raises(LabError) as refusal:
        opened(storage="postgresql://me:hush@127.0.0.1:1/db?connect_timeout=2")
    assert "search.storage=postgresql://me:***@127.0.0.1:1/db" in str(refusal.value)
    assert "hush" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_driver_is_named(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(LabError, match="needs a driver: pip install psycopg2-binary"):
        opened(storage="postgresql://me:hush@127.0.0.1:1/db")


def test_postgresql_is_spoken_to_by_the_driver_that_is_there(monkeypatch):
    there = {"psycopg": None}
    monkeypatch.setattr(study_module.importlib.util, "find_spec", lambda name: there[name])
    assert with_driver("postgresql://me:hush@host/db") == "postgresql+psycopg2://me:hush@host/db"
    assert with_driver("postgresql+pg8000://host/db") == "postgresql+pg8000://host/db"
    there["psycopg"] = "a module"
    assert with_driver("postgresql://me:hush@host/db") == "postgresql://me:hush@host/db"


def test_what_is_no_url_is_refused(opened):
    with pytest.raises(LabError, match=r"search\.storage must be the URL of a database"):
        opened(storage="study.db")


def test_a_file_that_is_no_database_is_refused(opened, tmp_path):
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at " * 20)
    with pytest.raises(LabError, match=r"search\.storage=sqlite:.*text\.db cannot be used: file is not a database"):
        opened(storage=f"sqlite:///{tmp_path}/text.db")


def test_optunas_own_functions_read_what_was_written(opened, tmp_path):
    shared = opened()
    for value in (0.5, 0.25, 0.75, 1.0):
        shared.study.tell(shared.ask(), value)
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{tmp_path}/study.db")
    assert study.best_value == 0.25
    assert study.best_trial.params.keys() == {"optimizer.lr", "schedule"}


def test_a_plan_survives_the_way_to_a_worker(tmp_path):
    plan = replace(small_plan(tmp_path), objectives=[Objective("seconds", "maximize"), Objective("val/loss")])
    assert type(plan).from_json(plan.as_json()) == plan
