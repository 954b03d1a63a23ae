import datetime
import re
import secrets

import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.layout import LAYOUT_VERSION

SECOND = datetime.datetime(2024, 5, 6, 7, 8, 9)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path, "digits")


def refusal(call, *arguments):
    with pytest.raises(LabError) as caught:
        call(*arguments)
    return str(caught.value)


def test_a_run_s_folder_is_named_by_its_time_and_a_short_id(tmp_path, folder):
    assert folder.path.is_dir()
    assert folder.path.parent == tmp_path / "digits"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[0-9a-f]{6}", folder.path.name)


def test_two_folders_of_the_same_second_never_collide(tmp_path, monkeypatch):
    class Frozen:
        @staticmethod
        def now():
            return SECOND

    monkeypatch.setattr("diffusion_lab.run_folder.folder.datetime.datetime", Frozen)
    ids = iter(["aaaaaa", "aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr(secrets, "token_hex", lambda size: next(ids))
    first, second = RunFolder.create(tmp_path, "x"), RunFolder.create(tmp_path, "x")
    assert first.path.name == "2024-05-06_07-08-09-aaaaaa"
    assert second.path.name == "2024-05-06_07-08-09-bbbbbb"
    assert next(ids, None) is None


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    message = refusal(RunFolder.create, tmp_path / "file", "x")
    assert message.startswith(f"cannot make a run folder in {tmp_path / 'file' / 'x'} (paths.output_dir): ")


def test_opening_what_does_not_exist_is_refused(tmp_path):
    assert refusal(RunFolder.open, tmp_path / "gone") == f"there is no run folder {tmp_path / 'gone'}"


def test_opening_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert refusal(RunFolder.open, tmp_path / "file") == f"there is no run folder {tmp_path / 'file'}"


def test_opening_a_folder_without_a_config_is_refused(folder):
    assert refusal(RunFolder.open, folder.path) == f"{folder.path} is no run folder: it has no config.yaml"


def test_the_config_is_recorded_and_read_again(folder):
    folder.write_config({"a": {"b": [1, None, "x"]}, "c": [1, None, "x"]}, ["a.b=1", "seed=2"])
    folder.write_json("manifest.json", {"layout_version": LAYOUT_VERSION})
    opened = RunFolder.open(str(folder.path))
    assert opened.path == folder.path
    assert opened.read_config() == {"a": {"b": [1, None, "x"]}, "c": [1, None, "x"]}
    assert opened.read_overrides() == ["a.b=1", "seed=2"]
    assert sorted(p.name for p in folder.path.iterdir()) == ["config.yaml", "manifest.json", "overrides.yaml"]


@pytest.mark.parametrize("content", [b"a: [1, 2", b"a: b: c", b"\xff\xfe\x00\x01", b"- 1\n- 2\n", b"a: *nothing"])
def test_a_damaged_config_is_refused_by_name(folder, content):
    (folder.path / "config.yaml").write_bytes(content)
    assert refusal(folder.read_config).startswith(f"{folder.path / 'config.yaml'} is damaged: ")


def test_json_is_written_and_read_again(folder):
    content = {"loss": 0.5, "name": "ᾱ", "nested": {"a": [1, None]}}
    folder.write_json("manifest.json", content)
    assert folder.read_json("manifest.json") == content
    assert [p.name for p in folder.path.iterdir()] == ["manifest.json"]
    folder.write_json("manifest.json", {"a": ["ᾱ"]})
    assert (folder.path / "manifest.json").read_text(encoding="utf-8") == '{\n  "a": [\n    "ᾱ"\n  ]\n}\n'


def test_json_that_is_not_there_is_empty(folder):
    assert folder.read_json("manifest.json") == {}


@pytest.mark.parametrize("content", [b'{"a": 1', b"", b"[1, 2]", b"null", b"\xff\xfe"])
def test_damaged_json_is_refused_by_name(folder, content):
    (folder.path / "manifest.json").write_bytes(content)
    assert refusal(folder.read_json, "manifest.json").startswith(f"{folder.path / 'manifest.json'} is damaged: ")


def test_a_folder_is_held_by_one_process_at_a_time(folder):
    other, said = RunFolder(folder.path), "is being trained by another process: wait for its end, or stop it"
    with folder.held(), pytest.raises(LabError, match=said), other.held():
        pass
    with pytest.raises(ZeroDivisionError), folder.held():
        raise ZeroDivisionError
    with other.held():
        pass


def test_a_folder_is_discarded_with_the_parents_that_were_made_for_it(tmp_path):
    outputs = tmp_path / "outputs"
    folder = RunFolder.create(outputs, "x")
    folder.write_json("metrics.json", {})
    folder.discard()
    assert not outputs.exists()
    outputs.mkdir()
    RunFolder.create(outputs, "x").discard()
    assert list(outputs.iterdir()) == []  # it was there before


def test_the_parents_of_a_discarded_folder_stay_if_another_run_is_in_them(tmp_path):
    first, second = (RunFolder.create(tmp_path / "outputs", "x") for _ in range(2))
    first.discard()
    assert not first.path.exists()
    assert second.path.is_dir()


@pytest.mark.parametrize(
    ("text", "typed"),
    [("- a=1\n- 3\n- b=2\n", ["a=1", "b=2"]), ("a: 1\n", []), ("a=1\n", []), ("[", []), ("", []), (None, [])],
)
def test_of_overrides_that_are_damaged_the_texts_are_left(folder, text, typed):
    if text is not None:
        (folder.path / "overrides.yaml").write_text(text)
    assert folder.read_overrides() == typed


def test_what_is_no_run_is_answered_with_the_newest_in_it_or_with_the_innermost_around_it(tmp_path):
    runs = [tmp_path / "x" / f"2024-05-0{day}" for day in (1, 3, 2)]
    for run in (*runs, runs[0] / "inner"):
        (run / "checkpoints").mkdir(parents=True)
        (run / "config.yaml").touch()
    assert refusal(RunFolder.open, tmp_path / "x").endswith(f"has no config.yaml; did you mean {runs[1]}?")
    for nested in (runs[0], runs[0] / "inner"):
        assert refusal(RunFolder.open, nested / "checkpoints").endswith(f"has no config.yaml; did you mean {nested}?")
        assert refusal(RunFolder.open, nested / "gone").endswith(f"/gone; did you mean {nested}?")
