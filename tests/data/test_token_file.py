"""Tokens in a file: the same batches as from memory, made once, in little memory."""

import re
import threading
import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffusion_lab.data import Loader, TextFiles
from diffusion_lab.data.token_file import TokenFile, token_dtype
from diffusion_lab.errors import LabError


class Largest(TorchDispatchMode):
    """The size of the largest tensor that an operation made, in bytes."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **kwargs or {})
        of_arguments = {arg.untyped_storage().data_ptr() for arg in args if isinstance(arg, torch.Tensor)}
        if isinstance(made, torch.Tensor) and made.untyped_storage().data_ptr() not in of_arguments:
            self.size = max(self.size, made.nbytes)
        return made


def loader(data):
    return Loader(data.train.data, None, 64, True, 0, to_batch=data.to_batch, augment=data.augment)


@pytest.mark.parametrize(
    ("tokens", "vocab_size", "words", "size"),
    [("characters", None, 500, 1), ("bpe", 300, 500, 2), ("words", 40_000, 40_000, 2), ("words", 70_000, 70_000, 4)],
)
def test_tokens_from_a_file_are_those_from_memory(tmp_path, tokens, vocab_size, words, size):
    (tmp_path / "a.txt").write_text(" ".join(f"é{number}" for number in range(words)), encoding="utf-8")
    (tmp_path / "b.txt").write_text("and so on, " * 200, encoding="utf-8")
    found = []
    for in_memory in (True, False):
        data = TextFiles(
            str(tmp_path), 32, tokens, None, vocab_size, in_memory=in_memory, data_dir=str(tmp_path / "data")
        )
        data.setup()
        assert data.train.data.element_size() == size
        batches = torch.cat([batch.x for batch in loader(data)])
        found.append((data.fingerprint(), batches, data.split("val")[0], data.split("test")[0]))
    (one, *ids), (other, *same) = found
    assert one == other
    assert all(map(torch.equal, ids, same))
    assert int(ids[0].min()) >= 0
    if size == 2:
        assert (int(ids[0].max()) > 2**15) == (tokens == "words")
    assert (max(int(part.max()) for part in ids) >= 2**16) == (size == 4)
    assert len(list((tmp_path / "data" / "tokens").glob("*.bin"))) == 1


def test_a_large_text_is_made_tokens_and_read_in_little_memory(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("It was the best of times, it was the worst of times.\n" * 30_000)
    tracemalloc.start()
    try:
        with Largest() as largest:
            data = TextFiles(str(tmp_path), 64, in_memory=False, data_dir=str(tmp_path / "data"), limit_train=70_000)
            data.setup()
            data.fingerprint()
            batches = iter(loader(data))
            shapes = {next(batches).x.shape for _ in range(50)}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert shapes == {(64, 64)}
    assert len(data.train) > 60_000
    assert peak < 2.5e6  # of 4.8 million characters, whose crops overlap
    assert largest.size < 2.5e6


def test_a_text_that_has_changed_is_made_tokens_anew(tmp_path):
    """Also where it has as many of the same characters as before."""
    path = tmp_path / "a.txt"
    for text in ("abcd" * 100, "dcba" * 100):
        path.write_text(text, encoding="utf-8")
        data = TextFiles(str(path), 10, in_memory=False, data_dir=str(tmp_path / "data"))
        assert text.startswith(data.vocabulary.text(data.stream("train").tolist()))
    names = [file.name for file in (tmp_path / "data" / "tokens").glob("*.bin")]
    assert len(names) == 2
    assert all(re.fullmatch(r"text_[0-9a-f]{32}\.bin", name) for name in names)


def written(path, parts, key="key"):
    return TokenFile(path, "text", key, np.dtype("u1")).read_or_write(parts)


def test_of_two_processes_one_writes_and_the_other_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("diffusion_lab.machine.file_lock._BETWEEN_TRIES", 0.01)
    begun, waits, found = threading.Event(), threading.Event(), []
    monkeypatch.setattr(TokenFile, "_tell", lambda _: waits.set())

    def slowly():
        begun.set()
        assert waits.wait(20)
        yield np.arange(5, dtype="u1")

    first = threading.Thread(target=lambda: found.append(written(tmp_path, [slowly()])))
    first.start()
    assert begun.wait(20)
    ids, counts = written(tmp_path, [])
    first.join()
    assert (ids.tolist(), counts) == ([0, 1, 2, 3, 4], [5])
    assert found[0][0].tolist() == ids.tolist()


def test_a_file_that_was_not_finished_is_written_again_and_a_damaged_one_refused(tmp_path):
    def breaks():
        yield np.arange(3, dtype="u1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, [breaks()])
    assert not list(tmp_path.glob("*.bin"))
    (tmp_path / f".{next(tmp_path.glob('*.lock')).stem}.bin.1.tmp").write_bytes(b"left by a killed process")
    assert written(tmp_path, [[np.arange(3, dtype="u1")], []])[1] == [3, 0]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bin", ".json", ".lock"]
    assert written(tmp_path, [], "other")[0].tolist() == []
    for path in tmp_path.glob("*.bin"):
        path.write_bytes(b"1")
    with pytest.raises(LabError, match="is damaged: delete"):
        written(tmp_path, [])
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match=r"cannot write the tokens .*paths\.data_dir"):
        written(tmp_path / "file", [])


@pytest.mark.parametrize(("size", "kind"), [(256, "u1"), (257, "<i2"), (65_536, "<i2"), (65_537, "<i4")])
def test_ids_are_stored_in_as_few_bytes_as_they_need(size, kind):
    assert token_dtype(size) == np.dtype(kind)


@pytest.mark.parametrize(("characters", "files"), [(400, 0), (401, 1)])
def test_the_tokens_of_a_text_that_is_not_small_lie_in_a_file(tmp_path, characters, files, monkeypatch):
    monkeypatch.setattr("diffusion_lab.data.texts.SMALL_TEXT", 400)
    (tmp_path / "a.txt").write_text("a" * characters, encoding="utf-8")
    TextFiles(str(tmp_path / "a.txt"), 8, data_dir=str(tmp_path / "data")).setup()
    assert len(list(tmp_path.rglob("*.bin"))) == files
