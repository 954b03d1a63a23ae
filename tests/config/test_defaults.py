"""What a constructor takes where nothing is said is what some option of the config tree says."""

import inspect
from collections import defaultdict

import pytest
import yaml

from diffusion_lab.config.targets import located
from diffusion_lab.config.tree import conf_dir

#: The default by class and key where the options say something else on purpose.
OTHER = {
    ("Text8", "test"): 0.1,  # the split of the literature is a tenth, which the option shortens
    ("TinyShakespeare", "validation"): 0.05,
    ("LearningRateSchedule", "decay_steps"): None,  # which must be given
    ("DPMSolverPP2M", "stochastic"): False,  # an option of its own
    # Options take fewer items, states and evaluations than a measurement that is asked for in code, and `val`.
    ("MaskedCountNLL", "num_times"): 64,
    ("TokenBoundNLL", "num_times"): 64,
    ("VariationalBoundNLL", "num_times"): None,
    ("VariationalBoundNLL", "num_items"): None,
    ("VariationalBoundNLL", "split"): "test",
    ("OdeNLL", "num_items"): None,
    ("OdeNLL", "split"): "test",
    ("OdeNLL", "rtol"): 1e-5,
    ("OdeNLL", "atol"): 1e-5,
}


def pairs():
    """By class and key: the constructor's default, and the values of all options that make the class."""
    defaults, values = {}, defaultdict(list)
    for file in sorted(conf_dir().glob("*/*.yaml")):
        option = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        for node in (option, *option.values()):  # an evaluation's parts have names
            if not isinstance(node, dict) or not str(node.get("_target_", "")).startswith("diffusion_lab."):
                continue
            made = located(file.parent.name, node["_target_"])
            for key, parameter in inspect.signature(made).parameters.items():
                if key in node and parameter.default is not parameter.empty:
                    name = made.__name__, key
                    defaults[name] = parameter.default
                    values[name].append(tuple(node[key]) if isinstance(parameter.default, tuple) else node[key])
    return {name: (default, values[name]) for name, default in defaults.items()}


PAIRS = pairs()


@pytest.mark.parametrize(("name", "key"), sorted(PAIRS.keys() - OTHER.keys()))
def test_the_default_of_a_constructor_is_that_of_an_option(name, key):
    default, values = PAIRS[name, key]
    assert any(value == default and isinstance(value, bool) == isinstance(default, bool) for value in values)


def test_exceptions_are_exceptions():
    for name, expected in OTHER.items():
        default, values = PAIRS[name]
        assert default == expected, name
        assert default not in values
