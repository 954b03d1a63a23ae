"""Schemas of the config files: all files of conf/ fit, what is misspelled does not, and editors find them."""

import json
import re
import sys

import jsonschema
import pytest
import yaml

from diffusion_lab.commands.new_command import new
from diffusion_lab.commands.schema_command import write_schemas
from diffusion_lab.config.json_schema import of_hint, schemas
from diffusion_lab.config.targets import TRUST_VARIABLE
from diffusion_lab.config.tree import conf_dir, use_config_dirs
from diffusion_lab.errors import LabError
from test_bad_input import BAD

FILES = sorted(str(path.relative_to(conf_dir())) for path in conf_dir().rglob("*.yaml"))


@pytest.fixture(scope="module")
def validators():
    """A validator of each kind of file."""
    return {place: jsonschema.Draft202012Validator(schema) for place, schema in schemas().items()}


def errors(validators, place, content):
    return [error.message for error in validators[place].iter_errors(content)]


def place_of(name):
    return re.sub(r"/.*", "/*.yaml", name)


@pytest.mark.parametrize("name", FILES)
def test_each_config_file_fits_its_schema(validators, name):
    assert errors(validators, place_of(name), yaml.safe_load((conf_dir() / name).read_text())) == []


@pytest.mark.full
def test_the_schemas_are_schemas(validators):
    for validator in validators.values():
        jsonschema.Draft202012Validator.check_schema(validator.schema)
    assert {place_of(name) for name in FILES} == set(validators)


def as_file(typed):
    """What is typed behind a script, as it would stand in the file of an experiment."""
    content = {}
    for argument in typed.split():
        key, _, value = argument.lstrip("+").partition("=")
        node = content
        *parents, last = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = yaml.safe_load(value)
    return content


#: Keys that are spelled wrong, wherever they stand.
MISSPELLED = [
    typed for typed, parts in BAD.items()
    if parts[0].startswith("no key ") and any("?" in part for part in parts)
    and not typed.startswith(("hydra.", "~", "data="))
]  # fmt: skip


@pytest.mark.parametrize("typed", MISSPELLED)
def test_what_is_misspelled_behind_a_script_is_marked_in_a_file(validators, typed):
    assert len(MISSPELLED) > 10
    assert errors(validators, "experiment/*.yaml", as_file(typed)) != []


@pytest.mark.parametrize(
    ("place", "text", "fits"),
    [
        ("experiment/*.yaml", "defaults: [override /data: digits]", True),
        ("experiment/*.yaml", "defaults: [override /data: digts]", False),
        ("experiment/*.yaml", "defaults: [override /dat: digits]", False),
        ("experiment/*.yaml", "seed: ${oc.env:SEED}", True),
        ("experiment/*.yaml", "seed: seven", False),
        ("experiment/*.yaml", "trainer: {max_epochs: 2.5}", False),
        ("experiment/*.yaml", "trainer: {max_epochs: null}", True),
        ("experiment/*.yaml", "callbacks: {samples: {every_n_epochs: 2}, telemetry: null}", True),
        ("experiment/*.yaml", "callbacks: {sample: {every_n_epochs: 2}}", False),
        ("experiment/*.yaml", "callbacks: {mine: {_target_: mine.Callback, speed: 3}}", True),
        ("schedule/*.yaml", "{_target_: diffusion_lab.schedules.LinearSchedule, steps: 10}", True),
        ("schedule/*.yaml", "{_target_: diffusion_lab.schedules.LinearSchedule, step: 10}", False),
        ("schedule/*.yaml", "{_target_: diffusion_lab.schedules.LinearSchedule, max_beta: 0.9}", False),
        ("schedule/*.yaml", "{_target_: diffusion_lab.schedules.LinaerSchedule, steps: 10}", False),
        ("schedule/*.yaml", "{_target_: mine.Schedule, step: 10}", True),
        ("optimizer/*.yaml", "{_target_: torch.optim.Adam, _partial_: true, lr: 1.0e-3}", True),
        ("optimizer/*.yaml", "{_target_: torch.optim.Adam, _partial_: true, learning_rate: 1.0e-3}", False),
        ("experiment/*.yaml", "logger: {tensorboard: {max_queue: 5}}", True),
        ("experiment/*.yaml", "sampling: {hydra: {}}", False),
        ("experiment/*.yaml", "hydra: {sweep: {dir: x}}", True),
        ("runs.yaml", "sort: biggest", False),
    ],
)
def test_values_options_and_targets_are_checked(validators, place, text, fits):
    assert (errors(validators, place, yaml.safe_load(text)) == []) is fits


@pytest.mark.parametrize(
    ("hint", "value", "fits"),
    [
        (int, 2, True), (int, True, False), (int, 2.5, False), (float, 2, True), (int | None, None, True),
        (list[int], [1, 2], True), (list[int], ["a"], False), (tuple[float, float], [0, 1], True),
        (tuple[float, float], [0], False), (str, "a", True), (str, 1, False), (int, "${seed}", True),
        (list[int], ["${seed}"], True), (object, {"a": 1}, True), (dict[str, int], [1], False),
    ],
)  # fmt: skip
def test_an_annotation_becomes_a_schema(hint, value, fits):
    assert jsonschema.Draft202012Validator(of_hint(hint)).is_valid(value) is fits


def test_keys_are_explained_and_defaults_told(validators):
    nodes = validators["schedule/*.yaml"].schema["then"]["allOf"]
    by_target = {one["if"]["properties"]["_target_"]["const"]: one["then"] for one in nodes}
    linear = by_target["diffusion_lab.schedules.LinearSchedule"]
    steps = linear["properties"]["steps"]
    assert steps["description"] == "T, the number of steps; None for continuous time."
    assert steps["default"] == 1000
    assert linear["properties"]["_target_"]["description"].startswith("Betas that rise linearly")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A project of one's own, which is trusted, as the working folder."""
    new([str(tmp_path / "halos")])
    monkeypatch.chdir(tmp_path / "halos")
    monkeypatch.syspath_prepend(str(tmp_path / "halos"))
    monkeypatch.setenv(TRUST_VARIABLE, "halos")
    yield tmp_path / "halos"
    use_config_dirs([])
    for name in [name for name in sys.modules if name.split(".")[0] == "halos"]:
        del sys.modules[name]


def test_a_group_that_sets_keys_elsewhere_and_one_that_cannot_be_read(own):
    (own / "conf" / "ablation").mkdir()
    (own / "conf" / "ablation" / "small.yaml").write_text("# @package _global_\nnetwork: {width: 8}\n")
    write_schemas([])
    schema = json.loads((own / ".vscode/schemas/conf/ablation.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid({"network": {"width": 8}})
    (own / "conf" / "ablation" / "small.yaml").write_text("network: [")
    with pytest.raises(LabError, match=r"cannot read .*/ablation/small\.yaml: "):
        write_schemas([])


def test_an_editor_finds_the_schemas_which_know_classes_of_one_s_own(own, capsys):
    (own / ".vscode").mkdir()
    (own / ".vscode" / "settings.json").write_text('{"editor.tabSize": 2}')
    write_schemas([])
    assert "schemas in .vscode/schemas/conf," in capsys.readouterr().out
    settings = json.loads((own / ".vscode" / "settings.json").read_text())
    assert settings["editor.tabSize"] == 2
    assert settings["yaml.schemas"]["./.vscode/schemas/conf/network.json"] == "conf/network/*.yaml"
    assert len(settings["yaml.schemas"]) == len(schemas())
    for file, pattern in settings["yaml.schemas"].items():
        validator = jsonschema.Draft202012Validator(json.loads((own / file).read_text()))
        for path in own.glob(pattern):
            assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))] == []
    experiment = jsonschema.Draft202012Validator(json.loads((own / ".vscode/schemas/conf/experiment.json").read_text()))
    assert experiment.is_valid({"network": {"depth": 3}, "defaults": [{"override /network": "conv_net"}]})
    network = jsonschema.Draft202012Validator(json.loads((own / ".vscode/schemas/conf/network.json").read_text()))
    assert not network.is_valid({"_target_": "halos.conv_net.ConvNet", "widht": 3})


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["nowhere"], "schema: there is no folder nowhere"),
        (["a", "b"], "schema: name one folder"),
        (["out=x"], "schema: name one folder"),
        ([], r"cannot read \.vscode/settings\.json"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_line(typed, line, tmp_path, monkeypatch):
    (tmp_path / ".vscode").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / ".vscode" / "settings.json").write_text("// of mine\n{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabError, match=line):
        write_schemas(typed)
    assert not (tmp_path / ".vscode" / "schemas").exists()
