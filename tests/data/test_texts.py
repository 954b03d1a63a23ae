import errno
import hashlib
import os
import re
import zipfile
from pathlib import Path

import pytest
import torch

from diffusion_lab.data import PythonDocs, Text8, TextFiles, TinyShakespeare
from diffusion_lab.errors import LabError
from diffusion_lab.noise import Noise
from diffusion_lab.vocabulary import MOST_TOKENS, BytePairs


@pytest.fixture
def play(tmp_path):
    path = tmp_path / "play.txt"
    path.write_text("".join(chr(97 + n % 26) for n in range(2000)) + "\n", encoding="utf-8")
    return path


def test_a_text_is_cut_into_sequences_and_its_end_held_out(play):
    data = TextFiles(str(play), length=10, validation=0.1, test=0.2)
    data.setup()
    assert data.vocabulary.size == 27
    assert [len(split) for split in (data.train, data.val, data.test)] == [139, 20, 40]
    val, labels = data.split("val")
    assert labels is None
    assert val.dtype == torch.int64
    whole = play.read_text()
    assert "".join(map(data.vocabulary.text, val.tolist())) == whole[1401:1601]
    assert "".join(map(data.vocabulary.text, data.split("test")[0].tolist())) == whole[1601:]


def test_sequences_to_train_on_start_anywhere(play):
    data = TextFiles(str(play), length=10)
    data.setup()
    rows = torch.arange(len(data.train))
    starts = set()
    for epoch in range(40):
        crops = data.augment(data.train.data[rows], Noise(rows, 0, "augment", epoch))
        assert crops.shape == (len(rows), 10)
        texts = [data.vocabulary.text(crop) for crop in crops.tolist()]
        assert all(text in play.read_text() for text in texts)
        starts |= {text[0] for text in texts[:1]}
    assert len(starts) == 10  # each of the ten offsets of the first sequence
    noise, stored = Noise(rows, 0, "augment", 3), data.train.data
    offsets = (noise.at("crop").uniform() * 10).long().tolist()  # at an address of their own
    expected = [row[start : start + 10] for row, start in zip(stored, offsets, strict=True)]
    assert torch.equal(data.augment(stored, noise), torch.stack(expected))
    packed = TextFiles(str(play), length=10, crops=False)
    packed.setup()
    assert torch.equal(packed.augment(packed.train.data, Noise(torch.arange(170), 0)), packed.train.data)


def test_an_example_is_a_sequence_of_the_first_token(play):
    example = TextFiles(str(play), length=10).example()
    assert torch.equal(example, torch.zeros(1, 10, dtype=torch.int64))


@pytest.mark.parametrize("crops", [True, False])
def test_a_stream_is_the_text_of_a_split(tmp_path, crops):
    """All of it but what no sequence has."""
    text = "".join(chr(97 + (k * k) % 23) for k in range(500))
    path = tmp_path / "a.txt"
    path.write_text(text)
    data = TextFiles(str(path), length=16, crops=crops)
    streams = {name: data.vocabulary.text(data.stream(name).tolist()) for name in ("train", "val", "test")}
    assert text[:425].startswith(streams["train"])
    assert len(streams["train"]) > 425 - 16
    assert streams["val"] == text[425:441]
    assert streams["test"] == text[450:498]


def test_a_stream_of_ids_of_two_bytes_that_lie_in_a_file_is_the_text(tmp_path):
    text = "To be or not to be, that is the question. " * 40
    path = tmp_path / "a.txt"
    path.write_text(text)
    typed = {"tokens": "bpe", "vocab_size": 270, "in_memory": False, "data_dir": str(tmp_path)}
    data = TextFiles(str(path), length=8, **typed)
    stream = data.stream("train")
    assert stream.dtype == torch.uint16
    assert len(text) * 0.8 < len(data.vocabulary.text(stream.tolist())) <= len(text) * 0.85
    assert text.startswith(data.vocabulary.text(stream.tolist()))


@pytest.mark.parametrize("tokens", ["characters", "bytes", "words", "bpe"])
def test_tokens_come_back_as_the_text_they_stand_for(tokens, tmp_path):
    text = "To be — or not\tto be:\n“that” is the naïve question.\n" * 20
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    data = TextFiles(str(tmp_path), length=4, tokens=tokens, test=0.2, validation="test")
    ids = data.vocabulary.encode(text)
    assert data.vocabulary.text(ids.tolist()) == text
    again = TextFiles(
        str(tmp_path / "gone"),
        length=4,
        tokens=tokens,
        **({"vocabulary": data.found()["vocabulary"]} if tokens != "bytes" else {}),
    )
    assert again.vocabulary.size == data.vocabulary.size
    assert torch.equal(again.vocabulary.encode(text), ids)


def test_byte_pairs_are_learned_from_the_text_to_train_on_alone(tmp_path):
    trained, held_out = "the cat sat. " * 60, "zyzzyva vex " * 20
    (tmp_path / "a.txt").write_text(trained + held_out, encoding="utf-8")
    share = len(held_out) / len(trained + held_out)
    data = TextFiles(str(tmp_path), length=4, tokens="bpe", validation=share / 2, test=share / 2)
    data.setup()
    assert data.found()["vocabulary"] == BytePairs.found_in([trained], 4096).entries()
    texts = [data.vocabulary.text([token]) for token in range(256, data.vocabulary.size)]
    assert "the" in texts
    assert not any(set(text) & set("zyv") for text in texts)
    shown = ["".join(map(data.vocabulary.text, data.split(part)[0].tolist())) for part in ("train", "val", "test")]
    for text, whole in zip(shown, (trained, held_out[:120], held_out[120:]), strict=True):
        assert whole.startswith(text)
        assert len(text) > len(whole) - 20


def test_words_beyond_the_most_frequent_are_unknown(tmp_path):
    (tmp_path / "a.txt").write_text("a a a b b c " * 30, encoding="utf-8")
    data = TextFiles(str(tmp_path), length=2, tokens="words", vocab_size=4)
    assert data.found()["vocabulary"] == ["<unk>", " ", "a", "b"]
    assert data.vocabulary.text(data.vocabulary.encode("c b").tolist()) == "<unk> b"


def test_line_ends_and_the_mark_of_utf_8_are_read_as_they_are(tmp_path):
    """A file of bytes: its line ends are tokens, and the mark before it is none, in the middle of a folder either."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes("\ufeffone\r\ntwo\rthree\n".encode())
    data = TextFiles(str(tmp_path), length=2, tokens="bytes")
    assert "".join(data.pieces()) == "one\r\ntwo\rthree\n" + "\n\n" + "one\r\ntwo\rthree\n"


@pytest.mark.parametrize("tokens", ["characters", "words", "bpe"])
def test_an_empty_text_is_refused_by_its_name(tmp_path, tokens):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(LabError, match="data=text: the text is empty"):
        TextFiles(str(tmp_path), tokens=tokens)


def test_a_vocabulary_that_is_larger_than_typed_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.vocab_size=2 is less than the 3 tokens of data\.vocabulary"):
        TextFiles(str(tmp_path), tokens="words", vocabulary=["<unk>", "a", "b"], vocab_size=2)


def test_the_hash_depends_on_the_vocabulary_too(tmp_path):
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("abcd" * 100, encoding="utf-8")
    other.write_text("efgh" * 100, encoding="utf-8")
    first, second = (TextFiles(str(path), length=5) for path in (one, other))
    assert first.fingerprint()["train"] != second.fingerprint()["train"]
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in first.fingerprint().values())
    assert torch.equal(first.train.data, second.train.data)


def test_the_documentation_of_python_needs_no_download():
    data = PythonDocs(length=64)
    data.prepare_data()
    data.setup()
    assert len(data.train) > 1000
    assert data.vocabulary.size > 90
    assert data.vocabulary.text(data.split("train", 1)[0][0].tolist()).strip()


def test_tiny_shakespeare_says_what_it_lacks(tmp_path, monkeypatch):
    def fails(*arguments, **named):
        raise OSError("no network")

    monkeypatch.setattr("diffusion_lab.data.checked_file.download_url", fails)
    data = TinyShakespeare(str(tmp_path))
    assert data.vocabulary.size == 65
    with pytest.raises(LabError, match=r"could not be downloaded .no network.*data=python_docs"):
        data.prepare_data()
    assert not (tmp_path / "tinyshakespeare").exists()
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("First Citizen:")
    with pytest.raises(LabError, match="is damaged"):
        data.prepare_data()


def test_text8_is_read_from_its_archive(tmp_path, monkeypatch):
    text = "anarchism originated as a term of abuse " * 50
    (tmp_path / "text8").mkdir()
    archive = tmp_path / "text8" / "text8.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("text8", text)
    monkeypatch.setattr(Text8, "md5", hashlib.md5(archive.read_bytes()).hexdigest())
    data = Text8(str(tmp_path), length=20, test=0.05)
    assert data.vocabulary.size == 27
    data.prepare_data()
    data.setup()
    assert [len(split) for split in (data.val, data.test)] == [5, 5]
    assert data.vocabulary.text(data.split("test", 1)[0][0].tolist()) == text[1900:1920]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"abc", {"length": 4}, "take a smaller length"), (b"\xff\xfe", {}, "is no UTF-8 text"),
        (b"abc" * 100, {"length": 4, "vocabulary": "ab"}, "character 'c' is not one of the 2"),
    ],
)  # fmt: skip
def test_texts_that_do_not_fit_are_refused(content, arguments, message, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(LabError, match=message):
        TextFiles(str(path), **arguments).setup()


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"length": 0}, "length"), ({"test": 0.0}, "test"), ({"test": 1.0}, "test"),
        ({"validation": 0.0}, "validation"), ({"validation": 0.95}, "validation"),
        ({"validation": 0.75, "test": 0.25}, "validation"),
        ({"tokens": "words", "vocab_size": 1}, "vocab_size"), ({"vocab_size": 9}, "vocab_size"),
        ({"tokens": "words", "vocab_size": MOST_TOKENS + 1}, "vocab_size"),
        ({"tokens": "bpe", "vocab_size": 256}, "vocab_size"), ({"tokens": "bytes", "vocabulary": "ab"}, "vocabulary"),
        ({"tokens": "bpe", "vocabulary": "ab"}, "vocabulary"),
        ({"vocabulary": "aa"}, "vocabulary"), ({"tokens": "words", "vocabulary": "ab"}, "vocabulary"),
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(wrong, key, play):
    with pytest.raises(ValueError, match=rf"data\.{key}"):
        TextFiles(str(play), **wrong)


def test_a_text_of_just_one_sequence_is_enough(tmp_path):
    """To train on, of just as many tokens as one that moves needs: 2 · 46 − 1."""
    path = tmp_path / "a.txt"
    path.write_text("ab" * 91)
    typed = {"test": 0.5, "validation": "test"}
    data = TextFiles(str(path), length=46, **typed)
    data.setup()
    assert [len(split) for split in (data.train, data.val, data.test)] == [1, 1, 1]
    with pytest.raises(LabError, match=r"data\.length=47: .* 91 tokens to train on, and two sequences have more"):
        TextFiles(str(path), length=47, **typed).setup()
    packed = {**typed, "crops": False}
    TextFiles(str(path), length=91, **packed).setup()
    with pytest.raises(LabError, match=r"data\.length=92: .* 91 tokens to train on; take a smaller length"):
        TextFiles(str(path), length=92, **packed).setup()


def test_a_file_that_cannot_be_read_is_named(play, monkeypatch):
    def denied(*arguments, **named):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    data = TextFiles(str(play))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        with pytest.raises(LabError, match=f"^data.path: cannot read {play}: Permission denied$"):
            list(data.pieces())


def test_a_path_without_text_is_refused(tmp_path):
    for path, message in ((tmp_path / "none", "no such file"), (tmp_path, "ends in .txt or .md")):
        with pytest.raises(LabError, match=message):
            TextFiles(str(path))
