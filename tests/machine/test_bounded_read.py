"""The reader of run folders: what it refuses, each in one line that names the file, at once and without memory."""

import json
import os
import resource

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.machine.bounded_read import (
    RefusedFileError,
    check_folder,
    open_bounded,
    read_bounded,
    read_csv,
    read_json,
    read_yaml,
)  # fmt: skip


def laughs():
    """Nine levels of ten aliases each: a thousand million values."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 10):
        lines.append(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]")
    return "\n".join(lines)


def deep(count):
    return "[" * count + "]" * count


def sparse(path):
    with path.open("wb") as file:
        file.truncate(60 * 10**9)


def link(path):
    (path.parent / "elsewhere").write_text("{}")
    path.symlink_to(path.parent / "elsewhere")


NO_FILES = {
    "a link": link,
    "a link to nothing": lambda path: path.symlink_to("/nonexistent"),
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a sparse file": sparse,
}


@pytest.mark.parametrize("read", [read_bounded, read_json, read_yaml, read_csv])
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_plain_file_is_refused_by_name(tmp_path, kind, read):
    path = tmp_path / "manifest.json"
    NO_FILES[kind](path)
    with pytest.raises(RefusedFileError, match=f"^{path} ") as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "metrics.csv", "step_losses.f32"])
def test_a_file_that_is_larger_than_its_kind_may_be_is_refused(tmp_path, name, monkeypatch):
    path = tmp_path / name
    monkeypatch.setattr("diffusion_lab.machine.bounded_read.LARGEST", {path.suffix: 100, ".json": 100})
    path.write_bytes(b"x" * 100)
    assert len(read_bounded(path)) == 100
    path.write_bytes(b"x" * 101)
    with pytest.raises(RefusedFileError, match=f"{path} has 101 bytes, and such files may have 100"):
        read_bounded(path)


DAMAGED_JSON = {
    "a number of 400 digits": '{"seed": ' + "9" * 400 + "}",
    "a number of 40 digits": '{"seed": -' + "9" * 40 + "}",
    "nested 3,000 deep": '{"a": ' + deep(3000) + "}",
    "nested 100 deep": '{"a": ' + deep(100) + "}",
    "nested 200,000 deep": deep(200_000),
    "no mapping": "[1]",
    "half of it": '{"seed": 1',
    "another encoding": b'{"notes": "gr\xfcn"}',
}


@pytest.mark.parametrize("kind", DAMAGED_JSON)
def test_damaged_json_is_one_line_that_names_the_file(tmp_path, kind):
    path, content = tmp_path / "metrics.json", DAMAGED_JSON[kind]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LabError, match=f"^{path} is damaged: ") as refused:
        read_json(path)
    assert "\n" not in str(refused.value)


DAMAGED_YAML = {
    "billion laughs": laughs(),
    "an alias": "a: &a 1\nb: *a\n",
    "a merge of itself": "a: &a\n  <<: *a\n",
    "a number of 400 digits": "seed: " + "9" * 400,
    "nested 3,000 deep": "a: " + deep(3000),
    "nested 100 deep": "a: " + deep(100),
    "a date": "a: 2026-01-01",
    "a set": "a: !!set {x}",
    "bytes": "a: !!binary aGk=",
    "an object": "a: !!python/object/apply:os.system [id]",
    "a number as a key": "1: a",
    "a list as a key": "[a]: 1",
    "no YAML": "a: {",
}


@pytest.mark.parametrize("kind", DAMAGED_YAML)
def test_damaged_yaml_is_one_line_that_names_the_file(tmp_path, kind):
    path = tmp_path / "config.yaml"
    path.write_text(DAMAGED_YAML[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LabError, match=f"^{path} is damaged: ") as refused:
        read_yaml(path)
    assert "\n" not in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def test_whole_files_are_read_as_they_are(tmp_path):
    content = {"a": [1, -2.5, True, None, "grün"], "b": {"c": {"d": []}}, "n": 2**63}
    (tmp_path / "x.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    assert read_json(tmp_path / "x.json") == content
    assert read_json(tmp_path / "absent.json") == {}
    (tmp_path / "x.yaml").write_text("a: [1, -2.5, true, null, grün]\n", encoding="utf-8")
    assert read_yaml(tmp_path / "x.yaml") == {"a": [1, -2.5, True, None, "grün"]}
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert read_csv(tmp_path / "x.csv") == [{"a": "1", "b": "2"}]
    assert read_csv(tmp_path / "absent.csv") == []


@pytest.mark.parametrize("mode", ["r+b", "ab"])
def test_a_file_with_a_second_name_is_read_but_not_changed(tmp_path, mode):
    (tmp_path / "theirs").write_bytes(b"kept")
    path = tmp_path / "step_losses.f32"
    path.hardlink_to(tmp_path / "theirs")
    assert read_bounded(path) == b"kept"
    with pytest.raises(RefusedFileError, match=f"^{path} has a second name"):
        open_bounded(path, mode)
    assert (tmp_path / "theirs").read_bytes() == b"kept"


def test_a_folder_that_is_reached_through_a_link_may_be_used_and_one_with_links_out_of_it_may_not(tmp_path):
    run, outside = tmp_path / "run", tmp_path / "outside"
    for folder in (run / "checkpoints", outside):
        folder.mkdir(parents=True)
    (run / "checkpoints" / "latest").symlink_to("best.ckpt")  # stays inside
    (tmp_path / "door").symlink_to(run)
    check_folder(tmp_path / "door")
    for place in (run / "figures", run / "checkpoints" / "last.ckpt"):
        place.symlink_to(outside)
        with pytest.raises(RefusedFileError, match=f"^{place} is a link that leads out of {run}"):
            check_folder(tmp_path / "door")
        place.unlink()
    os.mkfifo(run / "pipe")
    with pytest.raises(RefusedFileError, match="neither a file nor a folder"):
        check_folder(run)
    check_folder(run.parent / "outside", spared=["x"])


@pytest.mark.parametrize(("text", "kind"), [("1: a", "int"), ("null: a", "NoneType"), ("a: {true: b}", "bool")])
def test_a_key_that_is_no_text_is_named_by_its_kind(tmp_path, text, kind):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(LabError, match=rf"x\.yaml is damaged: a key in it is a {kind}, not a text"):
        read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + "[" * 900_000, "nested more than 50 deep"),
        ("- " * 900_000 + "a", "nested more than 50 deep"),
        ("seed: 1" + ":1" * 900_000, "a number in it has 1,800,001 characters"),
        ("seed: " + "9" * 1_000_000, "a number in it has 1,000,000 characters"),
    ],
)
def test_yaml_that_would_end_its_reader_is_refused_before_it_is_loaded(tmp_path, text, said):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(LabError, match=rf"x\.yaml is damaged: .*{said}"):
        read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize("text", [",".join("a" * 60_000) + "\n" + "0,1\n" * 60_000, "s\n" + "1\n" * 9_000_000])
def test_a_table_of_more_cells_than_any_run_writes_is_refused_before_it_is_read(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(LabError, match=r"x\.csv is damaged: it declares [\d,]+ cells"):
        read_csv(tmp_path / "x.csv")
