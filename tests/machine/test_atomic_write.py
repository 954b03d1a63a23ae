import os
import resource
import stat
from contextlib import contextmanager

import numpy as np
import pytest

from diffusion_lab.errors import LabError
from diffusion_lab.machine.atomic_write import (
    atomic_write,
    link_or_copy,
    whole_folder,
    write_array,
    write_bytes,
    write_text,
    write_together,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.json"


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def refusal(call, *arguments):
    with pytest.raises(LabError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("older", [True, False])
def test_the_new_content_replaces_the_old_when_the_block_ends(path, older):
    if older:
        path.write_bytes(b"older")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.exists() is older
        assert not older or path.read_bytes() == b"older"
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["metrics.json"]


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("failure", [OSError(28, "full"), RuntimeError("torch's"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_the_old_content_and_no_temporary_file(path, older, failure):
    if older:
        path.write_bytes(b"older")

    def write_half():
        with atomic_write(path) as file:
            file.write(b"half of")
            file.flush()
            assert names(path.parent) == [f".metrics.json.{os.getpid()}.tmp"] + ["metrics.json"] * older
            raise failure

    with pytest.raises(type(failure)):
        write_half()
    assert names(path.parent) == ["metrics.json"] * older
    assert not older or path.read_bytes() == b"older"


@pytest.mark.parametrize("write", [write_text, lambda path, text: write_bytes(path, text.encode())])
def test_text_and_bytes_are_written_whole(path, write):
    write(path, "ᾱ")
    assert path.read_text(encoding="utf-8") == "ᾱ"
    assert names(path.parent) == ["metrics.json"]


@pytest.fixture
def steps(path, monkeypatch):
    """What is done to the disk, in its order: flushes of files with their sizes, of the folder, and renames."""
    done = []
    fsync, rename = os.fsync, type(path).replace

    def spied_fsync(descriptor):
        info = os.fstat(descriptor)
        if stat.S_ISDIR(info.st_mode):
            assert os.path.samestat(info, path.parent.stat())
            done.append("flush folder")
        else:
            done.append(f"flush {info.st_size}")
        fsync(descriptor)

    def spied_rename(self, target):
        done.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(type(path), "replace", spied_rename)
    return done


def test_the_file_is_flushed_before_it_is_renamed_and_the_folder_after(path, steps):
    write_text(path, "new")
    assert steps == ["flush 3", "rename", "flush folder"]


def test_files_that_belong_together_are_all_flushed_before_the_first_is_renamed(path, steps):
    write_together({path: b"1", path.with_name("other"): b"22"})
    assert set(steps[: steps.index("rename")]) == {"flush 1", "flush 2"}
    assert steps.count("rename") == 2


def test_a_file_system_that_cannot_flush_a_folder_is_no_error(path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, os.strerror(22))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_text(path, "new")
    assert path.read_text() == "new"


def test_an_error_names_the_file_and_not_the_temporary_one(path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught, atomic_write(path) as file:
        file.write(b"new")
    assert caught.value.filename == str(path)


def test_a_write_that_fails_leaves_the_older_file_whole_and_nothing_else(path, monkeypatch):
    write_text(path, "older")

    def fail(self, target):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("pathlib.Path.replace", fail)
    assert refusal(write_text, path, "newer") == f"cannot write {path}: No space left on device"
    assert names(path.parent) == ["metrics.json"]
    assert path.read_text() == "older"


def test_a_write_into_a_folder_that_is_gone_is_refused_by_name(tmp_path):
    path = tmp_path / "gone" / "metrics.json"
    assert refusal(write_text, path, "text") == f"cannot write {path}: No such file or directory"


def test_a_write_below_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "metrics.json"
    assert refusal(write_text, path, "text") == f"cannot write {path}: Not a directory"


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("older", [True, False])
def test_a_second_name_is_a_hard_link_or_a_copy(path, monkeypatch, links, older):
    def refuse(source, target):
        raise OSError(95, os.strerror(95))

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    source = path.with_name("source")
    source.write_bytes(b"content")
    if older:
        path.write_bytes(b"older")
    for _ in range(2):  # the second time both are names of one file already
        link_or_copy(source, path)
        assert path.read_bytes() == b"content"
        assert path.samefile(source) is links
        assert names(path.parent) == ["metrics.json", "source"]


def test_a_temporary_hard_link_that_was_left_behind_is_not_written_through(path):
    source = path.with_name("source")
    source.write_bytes(b"content")
    os.link(source, path.with_name(f".metrics.json.{os.getpid()}.tmp"))
    write_text(path, "new")
    assert source.read_bytes() == b"content"
    assert path.read_text() == "new"


def test_an_array_is_written_as_numpy_writes_it(path):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::2]
    write_array(path, array)
    np.save(path.with_name("other.npy"), array)
    assert path.read_bytes() == path.with_name("other.npy").read_bytes()


@contextmanager
def small_disk():
    """No file can have more than 1,000 bytes, not even one that pytest writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_text(path, "x" * 2000),
        lambda path: write_array(path, np.zeros(2000)),
        lambda path: write_together({path.with_name("a"): b"a", path: b"x" * 2000, path.with_name("b"): b"b"}),
    ],
)
def test_a_file_that_does_not_fit_is_named_and_nothing_of_it_or_beside_it_is_left(path, write):
    path.write_bytes(b"older")
    with small_disk():
        said = refusal(write, path)
    assert said == f"cannot write {path}: File too large"
    assert names(path.parent) == ["metrics.json"]
    assert path.read_bytes() == b"older"


def test_files_are_written_together(path):
    path.write_bytes(b"older")
    write_together({path: b"new", path.with_name("a"): b""})
    assert names(path.parent) == ["a", "metrics.json"]
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("older", [True, False])
def test_the_files_of_a_folder_come_together(tmp_path, older):
    folder = tmp_path / "draws" / "one"
    if older:
        folder.mkdir(parents=True)
        (folder / "a").write_bytes(b"older")
        (folder / "c").write_bytes(b"kept")
    with whole_folder(folder) as place:
        write_bytes(place / "a", b"new")
        write_bytes(place / "b", b"new")
        assert not (folder / "b").exists()
    assert names(folder) == ["a", "b"] + ["c"] * older
    assert (folder / "a").read_bytes() == b"new"
    assert names(folder.parent) == ["one"]


def test_of_a_folder_that_does_not_fit_nothing_is_left_and_the_file_is_named_as_it_would_be_called(tmp_path):
    def write():
        with whole_folder(tmp_path / "one") as place:
            write_bytes(place / "a", b"fits")
            write_bytes(place / "b", b"x" * 2000)

    with small_disk():
        said = refusal(write)
    assert said == f"cannot write {tmp_path / 'one' / 'b'}: File too large"
    assert names(tmp_path) == []


def test_a_place_where_no_folder_can_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()

    def write():
        with whole_folder(tmp_path / "file" / "one"):
            pass

    assert refusal(write).startswith(f"cannot write {tmp_path / 'file'}")
