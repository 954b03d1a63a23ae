"""What may be typed behind each script, by seed: every value is read, or refused in one line that names what was typed.

Up to three keys of a script get values of every kind that a keyboard has: numbers out of all ranges, signs of the shell
and of Hydra, other languages, texts where none are wanted. They go through the script's own reading and checks, up to
where its work would begin.
"""

import contextlib
import importlib
import io
import random
import re
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from conftest import composed_config
from diffusion_lab.config.arguments import parse_arguments
from diffusion_lab.config.cli import one_line, readable_arguments
from diffusion_lab.config.reader_schema import CompareConfig, CompareDrawsConfig, RunsConfig
from diffusion_lab.config.settings import SCHEMAS, read_settings
from diffusion_lab.config.tree import conf_dir, options
from diffusion_lab.machine.allocation_limit import allocation_limit
from doors import typed as typed_as_a_process

#: The scripts that Hydra composes, each with what makes its config whole and small.
COMPOSED = {
    "train": ("data=digits", "data.image_size=8", "network.base_channels=8", "network.channel_multipliers=[1]"),
    "search": ("search=typed", "data=digits", "data.image_size=8", "optimizer.lr=1e-3,1e-2"),
    "verify_resume": ("data=digits", "data.image_size=8", "network.base_channels=8"),
    "sample": ("run_dir=x",),
    "evaluate": ("run_dir=x",),
    "reproduce": ("run_dir=x",),
    "train_features": (),
}

#: Those that take paths and settings.
LISTS = {"runs": RunsConfig, "compare": CompareConfig, "compare_draws": CompareDrawsConfig}

VALUES = [
    "", " ", "null", "true", "no", "0", "1", "-1", "3", "7.5", "1e-3", "1e30", "1e308", "-1e39", "1e-400", "nan", "inf",
    "-inf", ".inf", "9" * 30, "0x10", "1_000", "01", "[]", "[1,2]", "[1,[2]]", "[null]", "[true]", "[a,b]", "{}",
    "{a:1}", "{a:{b:2}}", "???", "grün", "漢字", "🙂", "it's new", 'say "so"', "'x", '"x', "a=b", "a b", "a,b", "1,2",
    "choice(1,2)", "range(1,3)", "${seed}", "${x", "$(ls)", "`ls`", "~/x", "/dev/null", "../..", "a/b/c", "x" * 300,
    "\\", "a\\", "%s", "@", "#x", "a:b", "1:2", "!!python/object:os.system", "os.system", "two\nlines", "\t", "(", ")",
    "a(b)", "[", "]", "{", "}", "<x>", "*", "&a", "-", "--", "+1", "1,", ",", "none", "default", "cpu", "latest",
]  # fmt: skip

#: Keys of Hydra and of the terminal that are no part of what a script reads, or would start its work.
LEFT_OUT = ("hydra", "console")


def keys_of(script):
    """The dotted keys and the groups of a script's config, and some that it does not have."""
    if script in LISTS:
        return [*LISTS[script].__annotations__, "nothing"]

    def dotted(node, prefix=""):
        for name, value in node.items():
            yield prefix + name
            if isinstance(value, dict):
                yield from dotted(value, f"{prefix}{name}.")

    node = OmegaConf.to_container(composed_config(*COMPOSED[script][:2], config_name=script))
    keys = sorted(key for key in dotted(node) if key.split(".")[0] not in LEFT_OUT)
    return [*keys, "nothing", "network.nothing", "trainer.max_time.x", "+trainer.benchmark", "+sampler.x", "~seed"]


def case(number):
    """A script, and what is typed behind it."""
    draw = random.Random(number)
    script = draw.choice([*COMPOSED, "train", "train", "search", *LISTS])
    keys = draw.sample(keys_of(script), draw.choice([1, 1, 2, 3]))
    typed = []
    for key in keys:
        some = VALUES + 3 * options(key) if options(key) else VALUES
        typed.append(key if key.startswith("~") else f"{key}={draw.choice(some)}")
    return script, typed


def refusal(script, typed):
    """The line that a script answers with before its work begins; None if it would begin."""
    if script in LISTS:
        try:
            parse_arguments(typed, script, LISTS[script])
        except Exception as error:
            return one_line(error, script)
        return None
    rewrite = getattr(importlib.import_module(f"diffusion_lab.commands.{script}_command"), "REWRITE", list)
    GlobalHydra.instance().clear()
    try:
        arguments = rewrite(readable_arguments([*COMPOSED[script], *typed], script))
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose(script, arguments)
        settings = read_settings(SCHEMAS[script], cfg)
        if script in ("train", "verify_resume") and settings.resume is None and settings.init_from is None:
            from diffusion_lab.config.build import recordable
            from diffusion_lab.runs.validate import validated

            with allocation_limit():
                validated(recordable(settings))
        if script == "search":
            from diffusion_lab.search.search_spec import read_spec

            read_spec(settings, arguments)
    except Exception as error:
        return one_line(error, script)
    return None


def held_to_its_promise(number, tmp_path, monkeypatch):
    script, typed = case(number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *COMPOSED.get(script, ()), *typed])
    with contextlib.redirect_stdout(io.StringIO()) as said:
        line = refusal(script, typed)
    told = f"{script} {typed}: {line}"
    assert said.getvalue() == "", told
    assert list(tmp_path.iterdir()) == [], told
    if line is None:
        return "read"
    assert "a traceback: " not in line, told
    assert "\n" not in line, told
    names = [re.split(r"[.=]", text.lstrip("+~"))[0] for text in typed] + [
        text.partition("=")[2][:30] for text in typed
    ]
    names += [text.partition("=")[0].lstrip("+~").rpartition(".")[2] for text in typed]
    assert any(name and " ".join(name.split()) in line for name in names), told
    return "refused"


@pytest.mark.parametrize("first", [0, 20, *(pytest.param(first, marks=pytest.mark.slow) for first in (40, 60, 80))])
def test_what_is_typed_is_read_or_refused_by_name(first, tmp_path, monkeypatch):
    counts = [held_to_its_promise(number, tmp_path, monkeypatch) for number in range(first, first + 20)]
    assert {"read", "refused"} == set(counts)


@pytest.mark.full
@pytest.mark.parametrize("first", range(100, 1100, 50))
def test_much_of_what_is_typed_is_read_or_refused_by_name(first, tmp_path, monkeypatch):
    for number in range(first, first + 50):
        held_to_its_promise(number, tmp_path, monkeypatch)


@pytest.mark.full
@pytest.mark.parametrize("number", range(2000, 2060))
def test_a_process_answers_in_one_line(number, tmp_path):
    """Their arguments go through the system; where nothing is refused, the config is shown, or a path is not there."""
    script, typed = case(number)
    arguments = ["nowhere", *typed] if script in LISTS else [*COMPOSED[script], *typed, "--cfg", "job"]
    done = typed_as_a_process(script, arguments, tmp_path)
    told = (script, typed, done.err)
    assert "Traceback" not in done.out + done.err, told
    assert len([line for line in done.err.splitlines() if line.startswith("Error: ")]) == (done.status != 0), told
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "err", "memory"}, told
