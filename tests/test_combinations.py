"""Each pair of options trains and samples a step, or is refused in one line."""

import contextlib
import functools
import itertools
import runpy
from pathlib import Path

import pytest
import torch
from hydra.errors import HydraException
from hydra.utils import get_object

from covering import covering_array
from diffusion_lab.config.tree import options, read_option
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.runs.validate import validated
from option_recipes import of_tokens, recipe

#: Networks that are another option in a larger size.
LARGE = ("dit_s", "dit_b", "text_transformer_s", "text_transformer_b")
#: The groups that decide what is trained and drawn, and how. Others say where a run stands and what it tells.
#: Options for tokens alone are tried in test_token_combinations.
GROUPS = {
    group: [
        option
        for option in options(group)
        if option not in LARGE and not of_tokens(f"{group}={option}")
    ]
    for group in (
        "schedule", "parameterization", "objective", "time_sampling", "weight", "network", "sampler", "grid",
        "guidance", "clip", "ema", "codec", "process", "optimizer", "lr_schedule", "evaluation", "callbacks",
    )
}  # fmt: skip
#: Keys that change what an option is, with what is typed for each value.
KEYS = {
    "data": {
        "digits": ("data=digits", "data.image_size=8"),
        "mnist": ("data=mnist",),
        "cifar10": ("data=cifar10",),
        "kmnist": ("data=kmnist",),
        "fashion_mnist": ("data=fashion_mnist",),
        "image_folder": (
            "data=image_folder",
            "data.path=.",
            "data.image_size=8",
            "data.classes=[a,b,c]",
        ),
    },
    "labels": {"no": (), "yes": ("network.labels=true",)},
    "huber": {"no": (), "yes": ("objective.huber=0.5",)},
    "terminal": {"no": (), "yes": ("schedule.zero_terminal_snr=true",)},
    "time": {"steps": (), "continuous": ("schedule.steps=null",)},
    "mean": {
        "eps": (),
        "v": ("parameterization.mean._target_=diffusion_lab.parameterizations.V",),
    },
    "variance": {"fixed": (), "beta": ("sampler.variance=beta",), "learned": ("sampler.variance=learned",)},
    "num_steps": {"1": ("sampler.num_steps=1",), "7": ("sampler.num_steps=7",)},
}
EVERY = GROUPS | {key: list(values) for key, values in KEYS.items()}


@functools.cache
def constants(group, option):
    """The constants of the test that mirrors the file of an option's class; none if there is no such test.

    An option says there what these tests need to know of it: SMALL, the overrides that make it small, and REFUSED, for
    what a refusal says the options of other groups that it means nothing together with, as in the dictionary below.
    """
    target = read_option(group, option).get("_target_")
    if target is None:
        return {}
    *package, file = get_object(target).__module__.split(".")[1:]
    path = Path(__file__).parent.joinpath(*package, f"test_{file}.py")
    return runpy.run_path(str(path)) if path.exists() else {}


def pairs(group, chosen, other, refused):
    """All pairs of the options `chosen` of one group and `refused` of another, each written ``a b``, ``*`` for all."""
    return {
        ((group, one), (other, two))
        for one in (EVERY[group] if chosen == "*" else chosen.split())
        for two in (EVERY[other] if refused == "*" else refused.split())
    }


def but(group, names):
    return " ".join(option for option in EVERY[group] if option not in names.split())


#: Pairs that mean nothing together, and what their refusal says.
REFUSED = {
    "leaves no signal": pairs("schedule", "flow", "parameterization", "eps")
    | pairs("terminal", "yes", "parameterization", "eps"),
    "needs a finite slope": pairs("terminal", "yes", "parameterization", "velocity")
    | pairs("terminal", "yes", "sampler", "euler"),
    "they do not fit together": pairs(
        "objective", "hybrid", "parameterization", but("parameterization", "learned_variance")
    ),
    "is a mean over uniform times": pairs("objective", "hybrid vlb", "time_sampling", "log_normal logit_normal"),
    "needs one output for each input": pairs("objective", "simple", "parameterization", "learned_variance"),
    "need a schedule of T steps": pairs("objective", "hybrid vlb", "schedule", "flow edm")
    | pairs("objective", "hybrid vlb", "time", "continuous"),
    "has weights of its own": pairs("objective", "hybrid vlb", "weight", but("weight", "none")),
    "needs a network that takes labels": pairs("guidance", "cfg", "labels", "no")
    | pairs("guidance", "cfg", "network", "simple_unet"),
    "needs samples of known classes": pairs("evaluation", "cas", "labels", "no")
    | pairs("evaluation", "cas", "network", "simple_unet"),
    "needs parameterization=learned_variance": pairs(
        "variance", "learned", "parameterization", but("parameterization", "learned_variance")
    ),
    "there is no key": pairs("huber", "yes", "objective", "hybrid vlb")
    | pairs("terminal", "yes", "schedule", "flow edm")
    | pairs("time", "continuous", "schedule", "flow edm")
    | pairs("labels", "yes", "network", "simple_unet")
    | pairs("variance", "beta learned", "sampler", but("sampler", "ancestral"))
    | pairs("mean", "v", "parameterization", but("parameterization", "learned_variance")),
}  # fmt: skip
for name, chosen in ((group, option) for group in GROUPS for option in GROUPS[group]):
    for said, partners in constants(name, chosen).get("REFUSED", {}).items():
        refused = (pairs(name, chosen, other, names) for other, names in partners.items())
        REFUSED[said] = REFUSED.get(said, set()).union(*refused)
FORBIDDEN = set().union(*REFUSED.values())
SMALL = {option: constants("network", option).get("SMALL", ()) for option in options("network") if option not in LARGE}


def typed(row):
    """The overrides of a row."""
    chosen = [f"{group}={row[group]}" for group in GROUPS]
    own = [key for option in chosen for key in recipe(option)[1:] if key.startswith(f"{option.split('=')[0]}.")]
    keys = [override for key, values in KEYS.items() for override in values[row[key]]]
    small = ("data.batch_size=8", "trainer=cpu", *SMALL[row["network"]])
    return [*chosen, *own, *keys, *small]


def impossible(row):
    """Whether a row has the one triple that is refused."""
    no_signal = row["schedule"] == "flow" or row["terminal"] == "yes"
    return row["parameterization"] == "learned_variance" and row["mean"] == "eps" and no_signal


def check(row, settings):
    """What every run goes through before it begins, then a training step and a draw."""
    if impossible(row):
        with pytest.raises(LabError, match="leaves no signal"):
            validated(settings(*typed(row)))
        return
    parts = validated(settings(*typed(row)))
    rows = torch.arange(3)
    label = None if parts.pipeline.labels is None else rows
    images = Noise(rows, 0, "images").uniform(parts.data.shape).float() * 2 - 1
    before = [weight.clone() for weight in parts.module.parameters()]
    optimizer = parts.module.optimizer(parts.module.parameters())
    noise = Noise(rows, 0, "train")
    t = parts.module.time_sampling(noise.at("time"))
    terms = parts.module.objective(parts.module.denoiser, images, t, noise, label)
    terms["loss"].mean().backward()
    optimizer.step()
    after = list(parts.module.parameters())
    assert all(bool(weight.isfinite().all()) for weight in after)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    # Without clipping, an untrained network's error in the posterior's mean, over a small coefficient, may grow to inf.
    may_diverge = (row["parameterization"], row["clip"]) == ("posterior_mean", "none")
    with contextlib.suppress(LabError) if may_diverge else contextlib.nullcontext():
        drawn = parts.pipeline.draw(2)  # which refuses numbers that are not finite
        assert drawn.samples.shape == (2, *parts.data.shape)


ROWS, IMPOSSIBLE = covering_array(EVERY, 2, FORBIDDEN)
#: The first rows cover the most pairs.
QUICK = 30


def test_the_rows_cover_every_pair_that_is_not_refused():
    seen = {frozenset(pair) for row in ROWS for pair in itertools.combinations(row.items(), 2)}
    for one, other in itertools.combinations(sorted(EVERY), 2):
        for items in itertools.product(*([(group, option) for option in EVERY[group]] for group in (one, other))):
            refused = items in FORBIDDEN or items[::-1] in FORBIDDEN or frozenset(items) in IMPOSSIBLE
            assert refused != (frozenset(items) in seen), items


@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=() if number < QUICK else pytest.mark.slow) for number in range(len(ROWS))]
)
def test_options_that_go_together_train_and_sample_a_step(settings, number):
    check(ROWS[number], settings)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_each_three_options_that_go_together_train_and_sample_a_step(settings):
    rows, _ = covering_array(EVERY, 3, FORBIDDEN, tries=3)
    for row in rows:
        check(row, settings)


DEFAULTS = {
    **{group: found[0] for group, found in EVERY.items()}, "data": "digits", "evaluation": "none",
    "schedule": "cosine", "parameterization": "v", "objective": "simple", "time_sampling": "uniform", "weight": "none",
    "network": "unet", "sampler": "ancestral", "grid": "trailing", "guidance": "none", "clip": "x0", "ema": "none",
    "labels": "yes", "huber": "no", "terminal": "no", "time": "steps", "mean": "eps", "variance": "fixed",
    "num_steps": "7",
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "pair"),
    [
        pytest.param(said, pair, marks=pytest.mark.full if said == "there is no key" else ())
        for said, found in REFUSED.items()
        for pair in sorted(found)
    ],
    ids=str,
)
def test_options_that_mean_nothing_together_are_refused_in_one_line(settings, said, pair):
    learned = {"parameterization": "learned_variance", "objective": "hybrid", "mean": "v"}
    partners = {"hybrid": learned, "learned_variance": learned, "simple_unet": {"labels": "no"}}
    row = dict(DEFAULTS)
    for _, option in pair:
        row |= partners.get(option, {})
    row |= dict(pair)
    if row["parameterization"] != "learned_variance":
        row["mean"] = dict(pair).get("mean", "eps")
    if said == "there is no key":  # the command line's sentence about it has tests of its own
        with pytest.raises(HydraException, match="Could not override"):
            settings(*typed(row))
        return
    with pytest.raises(LabError, match=said) as caught:
        validated(settings(*typed(row)))
    assert "\n" not in str(caught.value)
