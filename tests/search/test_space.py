import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from diffusion_lab.errors import LabError
from diffusion_lab.search.space import move_sweeps_into_space, parse_space, read_space, trial_overrides

KINDS = {
    "choice(16, 32)": (CategoricalDistribution([16, 32]), [16, 32]),
    "linear,cosine": (CategoricalDistribution(["linear", "cosine"]), ["linear", "cosine"]),
    "choice([1,2], [1])": (CategoricalDistribution(["[1,2]", "[1]"]), ["[1,2]", "[1]"]),
    "choice(true, false)": (CategoricalDistribution([True, False]), [True, False]),
    "sort(choice(3, 1))": (CategoricalDistribution([1, 3]), [1, 3]),
    "range(32, 129, 32)": (IntDistribution(32, 128, step=32), [32, 64, 96, 128]),
    "range(1, 4)": (IntDistribution(1, 3), [1, 2, 3]),
    "range(0.0, 0.5, 0.25)": (FloatDistribution(0.0, 0.25, step=0.25), [0.0, 0.25]),
    "interval(0, 0.5)": (FloatDistribution(0.0, 0.5), None),
    "tag(log, interval(1e-4, 1e-2))": (FloatDistribution(1e-4, 1e-2, log=True), None),
    "tag(int, interval(1, 3))": (IntDistribution(1, 3), [1, 2, 3]),
    "int(interval(1, 3))": (IntDistribution(1, 3), [1, 2, 3]),
    "tag(int, log, interval(1, 64))": (IntDistribution(1, 64, log=True), list(range(1, 65))),
}


@pytest.mark.parametrize("text", KINDS)
def test_hydras_sweeps_are_optunas_distributions(text):
    (dimension,) = parse_space({"key": text})
    assert (dimension.distribution(), dimension.all_values()) == KINDS[text]


@pytest.mark.parametrize("text", KINDS)
def test_what_is_typed_for_a_value_gives_it_to_the_last_digit(text):
    (dimension,) = parse_space({"a.key": text})
    values = dimension.all_values() or [0.1 + 0.2, 1 / 3 * 1e-3, 1e-05]
    for value in values:
        override = OverridesParser.create().parse_override(dimension.override(value))
        assert not override.is_sweep_override()
        assert override.key_or_group == "a.key"
        read = override.value()
        typed = override.get_value_string()
        assert value in (read, typed) or typed == str(value)


BAD = {
    "interval(1)": ["cannot be read", "missing a required argument: 'end'"],
    "interval(1,2": ["cannot be read", "it may be choice(16,32)"],
    "interval(a,b)": ["cannot be read"],
    "interval(2,1)": ["the first number must be less"],
    "interval(1,1)": ["the first number must be less"],
    "tag(log, interval(0, 1))": ["a logarithm needs numbers above 0"],
    "tag(lgo, interval(1, 2))": ["no tag lgo", "tag(log,"],
    "tag(log, range(1, 9))": ["no tag log"],
    "tag(int, interval(0.5, 3))": ["must be integers"],
    "choice(1)": ["two different values"],
    "choice(1, 1)": ["two different values"],
    "range(1, 2)": ["two values or more"],
    "0.1": ["it is one value; type key=0.1 to fix it"],
}


@pytest.mark.parametrize("text", BAD)
def test_values_that_make_no_sense_are_refused_by_their_key(text):
    with pytest.raises(LabError) as refusal:
        parse_space({"key": text})
    assert str(refusal.value).startswith(f"search.space.key={text}: ")
    for said in BAD[text]:
        assert said in str(refusal.value)


def test_a_space_without_keys_is_refused():
    with pytest.raises(LabError, match=r"search\.space has no key"):
        parse_space({})


def test_null_takes_a_key_out():
    assert read_space({"optimizer.lr": None, "schedule": "a,b"}) == {"schedule": "a,b"}


def test_a_part_of_a_key_is_refused():
    with pytest.raises(LabError, match=r"search\.space\.optimizer is not a complete key"):
        read_space({"optimizer": {"lr": "interval(1,2)"}})


TYPED = {
    "optimizer.lr=tag(log,interval(1e-4,1e-2))": ("optimizer.lr", "tag(log,interval(1e-4,1e-2))"),
    "schedule=linear,cosine": ("schedule", "linear,cosine"),
    "network.channel_multipliers=choice([1,2],[1])": ("network.channel_multipliers", "choice([1,2],[1])"),
    'notes=choice(\'a b\', "c\\"d")': ("notes", 'choice(\'a b\', "c\\"d")'),
    "+trainer.gradient_clip_algorithm=norm,value": ("+trainer.gradient_clip_algorithm", "norm,value"),
}


@pytest.mark.parametrize("typed", TYPED)
def test_values_that_are_typed_go_into_the_space(composed, typed):
    (argument,) = move_sweeps_into_space([typed])
    key, text = TYPED[typed]
    before = read_space(OmegaConf.to_container(composed(config_name="search").search.space))
    after = read_space(OmegaConf.to_container(composed(argument, config_name="search").search.space))
    assert after == {**before, key: text}


@pytest.mark.parametrize(
    "typed", ["seed=3", "name=a", "x=[1,2]", "x=interval(1", "search.sampler=tpe,random", "--help"]
)
def test_what_is_one_value_stays_what_it_was(typed):
    assert move_sweeps_into_space([typed]) == [typed]


def test_in_a_sweep_several_values_are_several_searches():
    assert move_sweeps_into_space(["-m", "seed=1,2"]) == ["-m", "seed=1,2"]


def test_a_trial_is_typed_in_the_order_of_its_space():
    space = parse_space({"b": "choice(1,2)", "a": "choice(x,[1,2])"})
    assert trial_overrides(space, {"a": "[1,2]", "b": 2}) == ["b=2", "a=[1,2]"]
