"""What a constructor takes where nothing is said is what some option of the config tree says."""

import inspect
from collections import defaultdict

import pytest
import yaml

from diffusion_lab.config.targets import located
from diffusion_lab.config.tree import conf_dir

#: By class and key: the options say something else on purpose.
OTHER = {
    ("Text8", "test"),  # the split of the literature is a tenth, which the option shortens
    ("TinyShakespeare", "validation"),
    ("LearningRateSchedule", "decay_steps"),  # which must be given
    ("DPMSolverPP2M", "stochastic"),  # an option of its own
}


def pairs():
    """By class and key: the constructor's default, and the values of all options that make the class."""
    defaults, values = {}, defaultdict(list)
    for file in sorted(conf_dir().glob("*/*.yaml")):
        node = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        if not str(node.get("_target_", "")).startswith("diffusion_lab."):
            continue
        made = located(file.parent.name, node["_target_"])
        for key, parameter in inspect.signature(made).parameters.items():
            if key in node and parameter.default is not parameter.empty:
                name = made.__name__, key
                defaults[name] = parameter.default
                values[name].append(tuple(node[key]) if isinstance(parameter.default, tuple) else node[key])
    return {name: (default, values[name]) for name, default in defaults.items()}


PAIRS = pairs()


@pytest.mark.parametrize(("name", "key"), sorted(PAIRS.keys() - OTHER))
def test_the_default_of_a_constructor_is_that_of_an_option(name, key):
    default, values = PAIRS[name, key]
    assert any(value == default and isinstance(value, bool) == isinstance(default, bool) for value in values)


def test_exceptions_are_exceptions():
    for name in OTHER:
        default, values = PAIRS[name]
        assert default not in values
