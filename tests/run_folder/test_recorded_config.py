"""The recorded config is data: nothing in it is resolved, built or multiplied."""

import json

import pytest
import yaml
from omegaconf import OmegaConf

from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.layout import LAYOUT_VERSION
from diffusion_lab.run_folder.recorded_config import as_yaml, read_recorded_config
from diffusion_lab.run_folder.run_record import RunRecord

VALUES = {
    "texts": ["a b", "yes", "Off", "n", "1e5", "1_000", "0x10", "1:30", "null", "~", "2020-01-01", "ᾱ", "", "é\n"],
    "numbers": [1, -1, 1.0, 1e-5, 1e20, float("inf"), 0.1],
    "others": [None, True, False, [], {}, {"a": {"b": []}}],
    "long": "word " * 60,
}


def test_it_is_written_as_omegaconf_writes_it_and_read_as_it_was():
    assert as_yaml(VALUES) == OmegaConf.to_yaml(OmegaConf.create(VALUES))
    assert yaml.safe_load(as_yaml(VALUES)) == VALUES


@pytest.mark.parametrize("text", ["a\x85b", " \u2028", "\u2029", "'\x85\"\\", "x\n\x85"])
def test_line_breaks_of_all_kinds_are_kept(text):
    assert yaml.safe_load(as_yaml({"vocabulary": [text]})) == {"vocabulary": [text]}


def test_what_stands_twice_is_written_twice():
    shared = [1, 2]
    assert "&" not in as_yaml({"a": shared, "b": shared})


LONG = {
    "data": {"vocabulary": [f"word {number}" for number in range(12_000)], "classes": ["a"] * 256, "../x": ["b"] * 300},
    "seed": 1,
}


def test_a_long_list_lies_in_a_file_of_its_own(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_config(LONG, [])
    assert "word" not in (tmp_path / "config.yaml").read_text()
    assert [file.name for file in tmp_path.glob("*.json")] == ["data.vocabulary.json"]
    assert json.loads((tmp_path / "data.vocabulary.json").read_text())["data.vocabulary"][1] == "word 1"
    assert folder.read_config()["data"] == LONG["data"]


def test_a_list_of_256_values_is_short_and_one_of_257_is_long(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_config({"a": [0.5] * 256, "b": {"c": [1] * 257}, "d": [[1]] * 257, "e": ["${f}"] * 257}, [])
    assert [file.name for file in tmp_path.glob("*.json")] == ["b.c.json"]
    assert json.loads((tmp_path / "b.c.json").read_text()) == {"b.c": [1] * 257}


@pytest.mark.parametrize(
    "content",
    ["", "[1]", '{"data.vocabulary": "a"}', '{"data.vocabulary": [[1]]}', '{"data.vocabulary": ["${seed}"]}', None],
)
def test_a_damaged_list_is_refused_by_its_file(tmp_path, content):
    RunFolder(tmp_path).write_config(LONG, [])
    path = tmp_path / "data.vocabulary.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(LabError, match=r"data\.vocabulary\.json is (missing or )?damaged"):
        read_recorded_config(tmp_path, {})


@pytest.mark.parametrize("name", ["../other.json", "metrics.json", "data.json"])
def test_a_list_lies_in_no_other_file(tmp_path, name):
    assert "would be data.vocabulary.json" in refusal(tmp_path, f"data: {{vocabulary: {{_file_: {name}}}}}")


def test_a_list_lies_in_no_other_folder(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"../x": ["a"]}))
    (tmp_path / "run").mkdir()
    assert "would be ../x.json" in refusal(tmp_path / "run", "'../x': {_file_: ../x.json}")


def test_a_long_text_that_begins_like_a_number_is_read_again(tmp_path):
    config = {"notes": f"1{' and more' * 20}", "tags": [f"-{'-' * 100}", f".{'.' * 100}"]}
    folder = RunFolder(tmp_path)
    folder.write_config(config, [])
    found = folder.read_config()
    assert {key: found[key] for key in config} == config


def refusal(folder, text):
    (folder / "config.yaml").write_text(text)
    with pytest.raises(LabError) as caught:
        read_recorded_config(folder, {})
    message = str(caught.value)
    assert message.startswith(f"{folder / 'config.yaml'} is damaged: ")
    return message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("a: 1\nb: {c: '${oc.env:HOME}'}", "b.c is '${oc.env:HOME}'"),
        ("a: [1, 'x${a}']", "a.1 is 'x${a}'"),
        ("notes: '${seed}'", "notes is '${seed}'"),
    ],
)
def test_an_interpolation_is_refused_by_name_and_not_resolved(tmp_path, text, key):
    assert key in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [true]",
        "a: &x [1]\nb: *x",
        "- 1",
        "a: [",
        "\n".join(f"k{i}: 1" for i in range(10_001)),
        "a: " + "[" * 5000 + "]" * 5000,
    ],
    ids=["object", "alias", "list", "half", "many keys", "deep"],
)
def test_what_is_no_plain_config_is_refused(tmp_path, text):
    refusal(tmp_path, text)
    assert RunRecord(tmp_path).state == "damaged"


def test_a_config_may_have_10_000_keys(tmp_path):
    (tmp_path / "config.yaml").write_text("\n".join(f"k{i}: 1" for i in range(10_000)))
    assert len(read_recorded_config(tmp_path, {"layout_version": LAYOUT_VERSION})) == 10_000


def test_an_empty_path_of_an_earlier_version_is_read_as_none(tmp_path):
    (tmp_path / "config.yaml").write_text("resume: ''\ninit_from: ''\nname: ''\n")
    found = read_recorded_config(tmp_path, {})
    assert {key: found[key] for key in ("resume", "init_from", "name")} == {
        "resume": None,
        "init_from": None,
        "name": "",
    }
