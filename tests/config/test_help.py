"""The text of `--help`, made from the comments of the config tree, is compared with the tree."""

import re

import pytest

from diffusion_lab.config.help import group_comments, help_text, leading_comment
from diffusion_lab.config.tree import conf_dir, options
from option_recipes import OF_MEASURES

LINES = {
    name: (conf_dir() / f"{name}.yaml").read_text().splitlines()
    for name in ("train", "sample", "search", "train_features")
}


def examples():
    return [
        (config, group, example)
        for config, lines in LINES.items()
        for group, (_, comment) in group_comments(lines).items()
        for example in [comment.partition("; e.g. ")[2]]
    ]


def test_every_group_of_the_tree_is_explained():
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()} - set(OF_MEASURES)
    assert groups == set(group_comments(LINES["train"]) | group_comments(LINES["search"]))


@pytest.mark.parametrize(("config", "group", "example"), examples())
def test_every_group_has_an_example_that_composes(composed, config, group, example):
    assert re.match(rf"{group}[.=]", example)
    overrides = example.split()
    cfg = composed(*overrides, config_name=config)
    for override in overrides:
        key, _, value = override.partition("=")
        if "." in key:
            node = cfg
            for name in key.split("."):
                node = node[name]
            assert str(node) in (value, str(float(value)) if value[0].isdigit() else value)


@pytest.mark.parametrize(
    "option",
    [
        f"{group}/{option}"
        for group in [*group_comments(LINES["train"] + LINES["search"]), *OF_MEASURES]
        for option in options(group)
    ],
)
def test_every_option_says_what_it_is(option):
    assert leading_comment((conf_dir() / f"{option}.yaml").read_text().splitlines())


def test_the_help_names_every_option_and_marks_the_defaults():
    text = help_text("train")
    for group, (default, comment) in group_comments(LINES["train"]).items():
        assert re.search(rf"^  {group} +{re.escape(comment.split()[0])}", text, re.M)
        for option in options(group):
            mark = r"\*" if option == default else " "
            assert re.search(rf"^    {mark} {option} ", text, re.M)
    assert max(map(len, text.splitlines())) <= 130


def test_the_help_names_the_keys_with_what_they_are_for():
    text = help_text("train")
    for key in ("name", "seed", "compile", "resume", "init_from", "sampling.num_samples"):
        assert re.search(rf"^  {re.escape(key)} +\S", text, re.M)
    assert "hydra." not in text
