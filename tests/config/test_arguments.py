"""Paths and `key=value` on the command line, and the checks of their types."""

import pytest

from diffusion_lab.config.arguments import parse_arguments
from diffusion_lab.config.reader_schema import CompareConfig, RunsConfig
from diffusion_lab.errors import LabError


def runs(*arguments):
    return parse_arguments(arguments, "runs", RunsConfig)


@pytest.mark.parametrize(("name", "schema"), [("runs", RunsConfig), ("compare", CompareConfig)])
def test_the_defaults_of_the_config_fit_the_schema(name, schema):
    assert parse_arguments([], name, schema)[0] == []


def test_what_is_no_key_is_a_path():
    paths, settings = runs("a/b", "state=failed", "./tag=x", "a b=c", "../n=1")
    assert paths == ["a/b", "./tag=x", "a b=c", "../n=1"]
    assert settings.state == ["failed"]


def test_text_stays_as_it_was_typed():
    settings = runs("x", "notes=a: [b], c=d # e")[1]
    assert settings.notes == "a: [b], c=d # e"
    assert runs("notes=null")[1].notes is None
    assert runs("notes=")[1].notes == ""
    assert runs("name=3")[1].name == "3"


def test_lists_may_have_brackets():
    for text in ("tag=a,b", "tag=[a,b]", "tag=[a, b]"):
        assert runs(text)[1].tag == ["a", "b"]
    assert runs("tag=[]")[1].tag == runs("tag=")[1].tag == []


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("stat=x", "did you mean state?"),
        ("=x", "there is no key"),
        ("return=1", "there is no key return"),
        ("confirm=yes", "it must be true or false"),
        ("sort=ages", "did you mean age?"),
        ("--prune", "there is no option --prune"),
    ],
)
def test_what_does_not_fit_is_refused(argument, said):
    with pytest.raises(LabError) as caught:
        runs(argument)
    assert said in str(caught.value)
