import optuna
import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.search.optuna_samplers import make_pruner, make_sampler
from diffusion_lab.search.space import parse_space

SPACE = parse_space(
    {"x": "interval(-1, 1)", "n": "range(1, 9)", "kind": "choice(a, b)", "lr": "tag(log, interval(1e-4, 1e-1))"}
)
COUNTABLE = parse_space({"n": "range(1, 4)", "kind": "choice(a, b)"})


def loss(params):
    return params.get("x", 0) ** 2 + params["n"] + (params["kind"] == "a")


def asked(study, space, count):
    """Run `count` trials one after another, and return their values."""
    found = []
    for _ in range(count):
        trial = study.ask({d.key: d.distribution() for d in space})
        study.tell(trial, loss(trial.params))
        found.append(trial.params)
    return found


def opened(name, space, storage=None, seed=0):
    storage = storage or optuna.storages.InMemoryStorage()
    return optuna.create_study(
        storage=storage,
        study_name="s",
        sampler=make_sampler(name, seed, space),
        load_if_exists=True,
        pruner=make_pruner("none"),
    )


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "gp", "nsgaii"])
def test_each_sampler_searches_numbers_and_choices(name):
    found = asked(opened(name, SPACE), SPACE, 13)
    assert len({params["x"] for params in found}) >= 10
    assert {params["kind"] for params in found} == {"a", "b"}


@pytest.mark.parametrize("name", ["tpe", "random", "gp", "nsgaii"])
def test_a_search_that_is_stopped_and_started_again_draws_the_same_trials(name):
    whole = asked(opened(name, SPACE), SPACE, 14)
    storage = optuna.storages.InMemoryStorage()
    parts = asked(opened(name, SPACE, storage), SPACE, 5) + asked(opened(name, SPACE, storage), SPACE, 9)
    assert parts == whole


def test_two_workers_of_one_seed_ask_for_different_trials():
    storage = optuna.storages.InMemoryStorage()
    first, second = (opened("tpe", SPACE, storage) for _ in range(2))
    found = [study.ask({d.key: d.distribution() for d in SPACE}).params["x"] for study in (first, second) * 4]
    assert len(set(found)) == 8


def test_another_seed_is_another_search():
    assert asked(opened("tpe", SPACE), SPACE, 3) != asked(opened("tpe", SPACE, seed=1), SPACE, 3)


def test_tpe_finds_more_than_chance_does():
    best = {}
    for name in ("tpe", "random"):
        losses = [min(map(loss, asked(opened(name, SPACE, seed=seed), SPACE, 40))) for seed in range(4)]
        best[name] = sum(losses) / len(losses)
    assert best["tpe"] < best["random"]


def test_a_grid_visits_every_point_once_even_if_the_search_is_restarted():
    storage = optuna.storages.InMemoryStorage()
    found = asked(opened("grid", COUNTABLE, storage), COUNTABLE, 4)
    found += asked(opened("grid", COUNTABLE, storage), COUNTABLE, 2)
    assert sorted((params["n"], params["kind"]) for params in found) == [(n, k) for n in (1, 2, 3) for k in "ab"]


def test_a_grid_of_an_interval_is_refused():
    with pytest.raises(LabError, match=r"search.sampler=grid .* search\.space\.x=interval\(-1, 1\) is an interval"):
        make_sampler("grid", 0, SPACE)


@pytest.mark.parametrize("name", ["median", "hyperband"])
def test_pruners_end_what_is_far_behind(name):
    study = optuna.create_study(sampler=make_sampler("random", 0, SPACE), pruner=make_pruner(name), study_name="s")
    pruned = 0
    for index in range(20):
        trial = study.ask()
        hopeless = index >= 10
        for step in range(1, 10):
            trial.report(1.0 + 10 * hopeless + index / 100 - step / 100, step)
            if trial.should_prune():
                pruned += hopeless
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, 1.0)
    assert pruned >= 5
