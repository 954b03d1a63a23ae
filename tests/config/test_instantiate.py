import functools

import pytest

from diffusion_lab.config.instantiate import make, make_one
from diffusion_lab.config.targets import TRUST_VARIABLE
from diffusion_lab.errors import LabError


@pytest.fixture(autouse=True)
def _trusts_this_module(monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, __name__)


class Wheel:
    def __init__(self, radius, spokes=32):
        if radius <= 0:
            raise ValueError(f"radius must be positive,\n got {radius}")
        self.radius, self.spokes = radius, spokes


class Cart:
    def __init__(self, front, others=(), seed=0):
        if seed < 0:
            raise ValueError(f"cart.seed must not be negative, got {seed}")
        self.front, self.others, self.seed = front, others, seed


class Anything:
    def __init__(self, **options):
        self.options = options


def node(kind, **arguments):
    return {"_target_": f"{kind.__module__}.{kind.__name__}", **arguments}


def refusal(config, key="cart", parts=None):
    with pytest.raises(LabError) as caught:
        make(config, key, parts or {})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_target_becomes_an_object_with_its_arguments():
    wheel = make(node(Wheel, radius=2), "wheel", {})
    assert isinstance(wheel, Wheel)
    assert (wheel.radius, wheel.spokes) == (2, 32)


def test_arguments_that_the_node_leaves_out_are_filled_in_by_name():
    parts = {"front": "a part", "seed": 7, "unused": object()}
    cart = make(node(Cart), "cart", parts)
    assert (cart.front, cart.seed, cart.others) == ("a part", 7, ())


def test_what_the_node_says_wins_over_a_part():
    assert make(node(Cart, seed=3), "cart", {"front": None, "seed": 7}).seed == 3


def test_what_follows_from_the_rest_of_the_config_cannot_be_given():
    with pytest.raises(LabError, match=r"cart\.front follows from the rest of the config: it cannot be given"):
        make(node(Cart, front=3), "cart", {"front": None}, fixed={"front"})
    assert make(node(Cart, front=3), "cart", {"front": None}).front == 3


def test_nested_nodes_and_lists_are_built_too_and_filled_in():
    config = node(Cart, front=node(Wheel, spokes=8), others=[node(Wheel, radius=1), {"plain": [1, "two", None]}])
    cart = make(config, "cart", {"radius": 5})
    assert (cart.front.radius, cart.front.spokes) == (5, 8)
    assert isinstance(cart.others[0], Wheel)
    assert cart.others[0].radius == 1
    assert cart.others[1] == {"plain": [1, "two", None]}


def test_a_mapping_without_a_target_is_a_mapping_of_what_is_in_it():
    made = make({"a": node(Wheel, radius=1), "b": 2}, "callbacks", {})
    assert isinstance(made["a"], Wheel)
    assert made["b"] == 2
    assert make({}, "callbacks", {}) == {}


def test_a_partial_node_is_a_constructor_that_still_lacks_arguments():
    partial = make(node(Wheel, spokes=8, _partial_=True), "wheel", {})
    assert isinstance(partial, functools.partial)
    assert (partial(3).radius, partial(3).spokes) == (3, 8)


@pytest.mark.parametrize("partial", [False, True])
def test_an_unknown_argument_is_named_with_the_nearest_spelling(partial):
    message = refusal(node(Wheel, radius=1, spoks=8, _partial_=partial), "cart.front")
    assert message == "there is no key cart.front.spoks; did you mean spokes? accepted are radius, spokes"


def test_an_unknown_argument_like_no_other_is_named_with_those_that_are_accepted():
    message = refusal(node(Cart, colour=1), parts={"seed": 0})
    assert message == "there is no key cart.colour: accepted are front, others"


def test_an_unknown_argument_of_a_nested_node_is_named_by_its_whole_key():
    assert "cart.others[1].raduis" in refusal(node(Cart, front=0, others=[1, node(Wheel, raduis=1)]))


def test_a_constructor_that_takes_any_argument_gets_them_all():
    assert make(node(Anything, a=1, b=[2]), "x", {}).options == {"a": 1, "b": [2]}


@pytest.mark.parametrize("target", ["diffusion_lab.schedules.LinearShedule", "diffusion_lab.shedules.LinearSchedule"])
def test_a_misspelled_target_is_named_with_the_nearest(target):
    assert refusal({"_target_": target}, "schedule") == (
        f"schedule._target_={target}: no such class or function is known under schedule; "
        "did you mean diffusion_lab.schedules.LinearSchedule?"
    )


@pytest.mark.parametrize("target", ["nowhere.at.all", "x", "", 3, None])
def test_a_target_like_no_other_is_named(target):
    message = refusal({"_target_": target}, "schedule")
    assert message.startswith(f"schedule._target_={target}: no such class or function is known under schedule")


def test_a_missing_argument_is_named():
    message = refusal(node(Wheel, spokes=3), "cart.front")
    assert message.startswith("cart.front.radius is missing: ")
    assert "Wheel needs it" in message


def test_a_constructor_s_refusal_is_one_line_that_begins_with_the_key():
    assert refusal(node(Wheel, radius=-1), "cart.front") == "cart.front: radius must be positive, got -1"


def test_a_refusal_that_names_its_key_is_left_as_it_is():
    assert refusal(node(Cart, front=0, seed=-1)) == "cart.seed must not be negative, got -1"


def test_a_type_error_of_a_constructor_is_a_refusal_too():
    assert refusal(node(Wheel, radius="wide"), "wheel").startswith("wheel: ")


@pytest.mark.parametrize(
    "config",
    [
        node(Wheel, radius=1),
        {"deep": {"down": node(Wheel, radius=1)}},
        [node(Cart, front=node(Wheel, radius=1))],
        node(Cart, front=1, others=[node(Wheel, radius=1)]),
        {"_target_": ["os.system"]},
        {"_target_": None},
    ],
)
def test_a_target_that_is_not_trusted_is_not_built_wherever_it_stands(config, monkeypatch):
    built = []
    monkeypatch.setattr(Wheel, "__init__", lambda self, radius: built.append(radius))
    monkeypatch.setenv(TRUST_VARIABLE, f"{__name__}.Cart, {__name__}.Anything")
    with pytest.raises(LabError, match=r"_target_=.*: no such class or function is known under cart"):
        make(config, "cart", {})
    assert built == []


def test_classes_that_are_trusted_by_name_are_built(monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, f"{__name__}.Cart,{__name__}.Wheel")
    assert make(node(Cart, front=node(Wheel, radius=2)), "cart.deep[0]", {}).front.radius == 2


def test_a_target_that_is_known_elsewhere_is_not_built():
    with pytest.raises(LabError, match=r"wheel\._target_=diff.*: no such class or function is known under wheel"):
        make({"_target_": "diffusion_lab.schedules.LinearSchedule"}, "wheel", {})


@pytest.mark.parametrize(
    "name", ["functools.partial", "functools.partial.__new__", "pytest.exit", "refusal.__globals__", "LabError"]
)
def test_what_a_trusted_module_only_imports_is_not_called(name):
    """This module imports them, and defines `refusal`, of which an attribute is no function."""
    with pytest.raises(LabError, match=rf"it is no class or function that {__name__}[\w.]* defines"):
        make({"_target_": f"{__name__}.{name}"}, "cart", {})


def test_one_object_of_another_kind_is_named_with_the_kind_that_is_wanted():
    with pytest.raises(LabError, match=rf"^cart\._target_={__name__}\.Wheel: it must make a Cart$"):
        make_one(node(Wheel, radius=1), "cart", Cart)
    with pytest.raises(LabError, match=r"^cart\._target_=none: it must make a Cart$"):
        make_one({}, "cart", Cart)


def test_an_error_of_a_trusted_module_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("raise RuntimeError('not\\nyet')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(TRUST_VARIABLE, "half_written")
    assert refusal({"_target_": "half_written.Net"}, "network") == (
        "network._target_=half_written.Net: there is no such class or function (not yet)"
    )


def test_the_line_says_how_a_class_of_one_s_own_is_trusted(monkeypatch):
    monkeypatch.delenv(TRUST_VARIABLE)
    assert refusal({"_target_": "mynets.tiny.Net"}, "network") == (
        "network._target_=mynets.tiny.Net: no such class or function is known under network; "
        "if it is your own, set DIFFUSION_LAB_TRUST=mynets in the environment"
    )
