"""Each pair of options of discrete diffusion trains and samples a step, of text and of pixels, or is refused."""

import itertools

import pytest
import torch

from covering import covering_array
from diffusion_lab.config.tree import options
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.runs.validate import validated
from option_recipes import of_tokens
from test_combinations import SMALL

#: The schedules that leave no token at t = 1.
NOTHING_LEFT = ("survival_cosine", "survival_squared_cosine", "log_linear", "polynomial")

#: What is typed for each option.
TYPED = {
    "data": {
        "text": ("data=python_docs", "data.length=12", "codec=tokens"),
        "pixels": ("data=digits", "data.image_size=8", "codec=pixel_tokens", "codec.levels=4"),
    },
    "schedule": {
        **{name: (f"schedule={name}",) for name in (*NOTHING_LEFT, "geometric")},
        "log_linear, remaining": ("schedule=log_linear", "schedule.remaining=0.001"),
        "polynomial, remaining": ("schedule=polynomial", "schedule.remaining=0.01"),
    },
    "time": {"continuous": (), "steps": ("schedule.steps=8",)},
    "told": {"no": (), "time": ("network.time=true",)},
    "labels": {"no": (), "yes": ("network.labels=true", "guidance=cfg", "guidance.scale=2")},
    "convolution": {"none": (), "of five": ("network.convolution=5",)},
    "cross_entropy": {"no": (), "yes": ("objective.cross_entropy=0.1",)},
    **{
        group: {option: (f"{group}={option}",) for option in options(group) if of_tokens(f"{group}={option}")}
        for group in ("process", "parameterization", "sampler")
    },
    "clip": {option: (f"clip={option}",) for option in ("none", "x0", "nucleus")},
    "grid": {option: (f"grid={option}",) for option in ("trailing", "linspace", "quadratic")},
    "time_sampling": {option: (f"time_sampling={option}",) for option in ("uniform", "stratified", "importance")},
}
TYPED["sampler"]["ancestral"] = ("sampler=ancestral", "sampler.num_steps=6")
for name in ("score_euler", "tweedie", "remasking"):
    TYPED["sampler"][name] += ("sampler.num_steps=6",)
TYPED["sampler"]["confidence"] += ("sampler.num_steps=6",)
TYPED["sampler"]["blocks"] += ("sampler@sampler.within=ancestral", "sampler.within.num_steps=3", "network.block_size=4")
EVERY = {group: list(values) for group, values in TYPED.items()}


def pairs(group, chosen, other, refused):
    return {((group, one), (other, two)) for one in chosen for two in refused}


BY_SCORES = ("score_euler", "tweedie")
REFUSED = {
    "they do not fit together": pairs("process", ["uniform"], "parameterization", ["substitution"])
    | pairs("process", ["uniform"], "sampler", ["first_hitting", "confidence", "remasking"]),
    "needs data with labels": pairs("labels", ["yes"], "data", ["text"]),
    "each block has a time of its own": pairs("sampler", ["blocks"], "told", ["time"]),
    "needs some tokens that survive": pairs("parameterization", ["log_scores"], "schedule", NOTHING_LEFT)
    | pairs("sampler", BY_SCORES, "schedule", NOTHING_LEFT),
    "needs continuous time": pairs("parameterization", ["log_scores"], "time", ["steps"]),
}
FORBIDDEN = set().union(*REFUSED.values())
ROWS, _ = covering_array(EVERY, 2, FORBIDDEN)


def typed(row):
    parts = ("network=text_transformer", "objective=token_bound", "data.batch_size=8", "trainer=cpu")
    chosen = [override for group, values in TYPED.items() for override in values[row[group]]]
    groups = [override for override in chosen if "." not in override.split("=")[0]]
    return [*parts[:2], *groups, *[one for one in chosen if one not in groups], *parts[2:], *SMALL["text_transformer"]]


def test_the_rows_cover_every_pair_that_is_not_refused():
    seen = {frozenset(pair) for row in ROWS for pair in itertools.combinations(row.items(), 2)}
    for one, other in itertools.combinations(sorted(EVERY), 2):
        for items in itertools.product(*([(group, option) for option in EVERY[group]] for group in (one, other))):
            assert (items in FORBIDDEN or items[::-1] in FORBIDDEN) != (frozenset(items) in seen), items


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ROWS)))
def test_options_that_go_together_train_and_sample_a_step(settings, number):
    parts = validated(settings(*typed(ROWS[number])))
    rows = torch.arange(8)
    parts.data.prepare_data()
    z0 = parts.pipeline.codec.encode(parts.data.split("train", 8)[0])
    before = [weight.clone() for weight in parts.module.parameters()]
    noise = Noise(rows, 0, "train")
    t = parts.module.time_sampling(noise.at("time"))
    labels = torch.arange(8) if ROWS[number]["labels"] == "yes" else None
    terms = parts.module.objective(parts.module.denoiser, z0, t, noise, labels)
    terms["loss"].mean().backward()
    parts.module.optimizer(parts.module.parameters()).step()
    after = list(parts.module.parameters())
    assert all(bool(weight.isfinite().all()) for weight in after)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    drawn = parts.pipeline.draw(2)
    assert drawn.samples.shape == (2, *parts.data.shape)


DEFAULTS = {group: next(iter(values)) for group, values in TYPED.items()} | {
    "process": "absorbing", "schedule": "geometric", "parameterization": "logits", "sampler": "ancestral"
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "pair"), [(said, pair) for said in REFUSED for pair in sorted(REFUSED[said])], ids=str
)
def test_options_that_mean_nothing_together_are_refused_in_one_line(settings, said, pair):
    with pytest.raises(LabError, match=said) as caught:
        validated(settings(*typed(DEFAULTS | dict(pair))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["process=absorbing", "codec=tokens", "schedule=log_linear"])
def test_an_option_for_tokens_does_not_go_with_the_parts_for_images(settings, option):
    with pytest.raises(LabError):
        validated(settings("data=digits", option))


def test_a_sampler_within_blocks_is_checked_for_the_length_of_a_block(settings):
    blocks = ("sampler=blocks", "sampler@sampler.within=confidence", "network.block_size=4")
    chosen = {**ROWS[0], "sampler": "ancestral", "process": "absorbing", "parameterization": "substitution"}
    base = [one for one in typed(chosen | {"told": "no", "labels": "no", "clip": "none"}) if "sampler" not in one]
    of_four = ("sampler.within.block_length=2", "sampler.within.num_steps=4")
    sampler = validated(settings(*base, *blocks, *of_four)).pipeline.sampler
    length = sampler.context
    assert len(sampler.steps) == 4 * length // 4
    with pytest.raises(LabError, match="multiple of the number of blocks, 2, got 3"):
        validated(settings(*base, *blocks, of_four[0], "sampler.within.num_steps=3"))
