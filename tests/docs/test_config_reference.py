"""The reference of the config tree, made of conf/ and of constructors: all keys are there, with what they accept."""

import re
from pathlib import Path

import pytest
import yaml

from config_reference import ON_PATHS, _without_repeats, command_pages, group_pages, groups, prose
from config_yaml import read_config
from diffusion_lab.config.schema import TrainConfig
from diffusion_lab.config.settings import SCHEMAS
from diffusion_lab.config.tree import conf_dir, options
from diffusion_lab.networks import UNet
from diffusion_lab.sampling import Ancestral, Confidence
from diffusion_lab.sampling.deis import DEIS
from diffusion_lab.schedules import LinearSchedule
from diffusion_lab.training.checkpoints import Checkpoints
from ranges import ranges_of

NOTES = Path(__file__).parents[2] / "docs" / "reference" / "notes"


@pytest.fixture(scope="module")
def pages():
    return group_pages(NOTES) | {f"../{name}": text for name, text in command_pages().items()}


def leaves(node, path=()):
    """The dotted keys of a file whose values are no mappings, but for its defaults list and the classes it names."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            if key not in ("_target_", "_partial_") and (path or key != "defaults"):
                yield from leaves(value, (*path, str(key)))
    else:
        yield path


def section(page, group, option):
    return page.split(f"(config-{group}-{option})=\n")[1].split("\n(config-")[0]


@pytest.mark.parametrize("group", groups())
def test_every_key_of_every_option_has_a_row_with_its_value(pages, group):
    page = pages[f"{group}.md"]
    for option in options(group):
        text = section(page, group, option)
        whole = group in ("experiment", "debug")
        content = yaml.safe_load((conf_dir() / group / f"{option}.yaml").read_text()) or {}
        for path in filter(None, leaves(content)):
            key = ".".join(path if whole else (group, *path))
            (row,) = re.findall(rf"^\| `{re.escape(key)}` \|.*", text, re.M)
            value = content
            for name in path:
                value = value[name]
            if isinstance(value, str | int) and value != "???":
                shown = str(value).lower() if isinstance(value, bool) else str(value)
                assert shown.replace("|", r"\|") in row


@pytest.mark.parametrize("command", [*SCHEMAS, *ON_PATHS])
def test_every_key_of_every_command_is_there(pages, command):
    content = yaml.safe_load((conf_dir() / f"{command}.yaml").read_text())
    page = pages[f"../{command}.md"]
    for path in leaves(content):
        key = ".".join(path)
        if path[0] in groups() and len(path) == 1:  # the node of a part, whose options have a page
            assert f"<config-{path[0]}>" in page
        elif path[0] != "hydra":
            assert f"| `{key}` |" in page
        elif path[-1] != "_target_":
            assert f"`{key}=" in page


def test_every_file_of_the_tree_has_a_page(pages):
    files = {path.stem for path in conf_dir().glob("*.yaml")}
    assert {f"../{name}.md" for name in files} | {f"{group}.md" for group in groups()} == set(pages)


def test_a_row_has_type_range_default_and_both_descriptions(pages):
    text = section(pages["network.md"], "network", "unet")
    (row,) = re.findall(r"^\| `network.base_channels` \|.*", text, re.M)
    assert "| `64` | an integer; a multiple of 8 |" in row
    (row,) = re.findall(r"^\| `network.dropout` \|.*", text, re.M)
    assert "a number; at least 0 and below 1" in row
    (row,) = re.findall(r"^\| `network.labels` \|.*", text, re.M)
    assert "true or false" in row
    assert "Take the data's labels." in row
    assert "`image_size` (an integer" in text  # which the data gives
    (row,) = re.findall(r"^\| `seed` \|.*", pages["../train.md"], re.M)
    assert "| `42` | an integer; at least 0 |" in row


def test_options_say_what_they_build_on_and_choose(pages):
    assert "{ref}`default <config-trainer-default>`" in section(pages["trainer.md"], "trainer", "fsdp")
    assert "`network=unet`" in section(pages["experiment.md"], "experiment", "fast_mnist")
    assert "{ref}`train <command-train>`" in pages["../search.md"]


def test_ranges_are_read_from_the_checks_of_constructors():
    assert ranges_of(LinearSchedule)["schedule.steps"] == "at least 2"
    assert ranges_of(UNet)["network.dropout"] == "at least 0 and below 1"  # of a function that checks
    assert ranges_of(UNet)["network.condition_dropout"] == "at least 0 and below 1"  # of the class above
    assert ranges_of(Checkpoints)["callbacks.checkpoints.keep"] == "at least 1"  # of a loop over names
    assert ranges_of(TrainConfig)["seed"] == "at least 0"
    assert ranges_of(Confidence)["sampler.block_length"] == "divide the length"  # of which a run knows the number
    assert ranges_of(DEIS)["sampler.order"] == "between 1 and 3"
    assert not ranges_of(Ancestral).keys() & {"sampler.variance", "sampler.num_steps"}  # a list that is computed, none


@pytest.mark.parametrize(
    ("comment", "text", "shown"),
    [
        ("how many steps", "How many of the steps.", ["how many steps"]),  # as much, in other words
        ("1 to 3", "of the predictor, 1 to 3", ["of the predictor, 1 to 3"]),
        ("0: none", "the share that is dropped", ["0: none", "the share that is dropped"]),
        ("", "the share", ["the share"]),
        ("", "", []),
    ],
)
def test_of_two_descriptions_that_say_the_same_one_is_shown(comment, text, shown):
    assert _without_repeats([comment, text]) == shown


def test_comments_of_one_and_of_several_lines_are_read(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(
        "# What it is.\ndefaults: [base]\n_target_: a.B\none: '#1'   # first\ntwo:   # a node\n  deep: 3  # which\n"
        "           # goes on\n  list: [1, 2]\n  # of what follows\n  none: null\n"
    )
    config = read_config(file)
    assert config.comment == ["What it is."]
    assert config.chosen == [("", "base")]
    assert [(".".join(key.path), key.value, key.comment) for key in config.keys] == [
        ("_target_", "a.B", ""),
        ("one", "'#1'", "first"),
        ("two", "", "a node"),
        ("two.deep", "3", "which goes on"),
        ("two.list", "[1, 2]", ""),
        ("two.none", "null", ""),
    ]
    assert {key.target for key in config.keys} == {"a.B"}


def test_comments_are_shown_as_written():
    assert prose("n of 2^n·pi·x, a*b | c") == r"n of 2\^n·pi·x, a\*b \| c"
    assert prose("data=text data.path=…, or `a_b`") == "`data=text` `data.path=…`, or `a_b`"
