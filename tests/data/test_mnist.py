"""On small IDX files that are made up here: the class checks their md5, so it is told theirs."""

import hashlib

import pytest
import torch
from idx_files import FILES, TEST, TRAIN

from diffusion_lab.data import MNIST, FashionMNIST
from diffusion_lab.errors import LabError


@pytest.fixture(params=[MNIST, FashionMNIST])
def kind(request, monkeypatch):
    sums = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(request.param, "checksums", sums)

    def no_network(self):
        raise RuntimeError("Error downloading\n  <urlopen error no network>")

    monkeypatch.setattr(request.param.source, "download", no_network)
    return request.param


@pytest.fixture
def raw(kind, tmp_path):
    folder = tmp_path / kind.name / "raw"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def ready(kind, folder, **options):
    data = kind(str(folder), **options)
    data.prepare_data()
    data.setup()
    return data


def numbers(split):
    """Which images of the file a split holds."""
    return split.data[:, 0, 0, 0].tolist()


def test_images_are_uint8_with_a_channel_and_labels_int64(kind, raw, tmp_path):
    data = ready(kind, tmp_path, validation=8)
    for split, count in ((data.train, TRAIN - 8), (data.val, 8), (data.test, TEST)):
        assert split.data.shape == (count, data.channels, data.image_size, data.image_size) == (count, 1, 28, 28)
        assert split.data.dtype == torch.uint8
        assert split.labels.shape == (count,)
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == [n % 10 for n in numbers(split)]
    pixels = bytes(data.test.data.flatten().tolist())
    assert pixels == FILES["t10k-images-idx3-ubyte"][16:]


def test_validation_images_are_held_out_of_training(kind, raw, tmp_path):
    data = ready(kind, tmp_path, validation=8)
    train, val = numbers(data.train), numbers(data.val)
    assert len(val) == 8
    assert sorted(train + val) == list(range(TRAIN))
    assert set(data.test.data[:, 0, 0, 1].tolist()) == {2}


def test_which_images_are_held_out_follows_from_split_seed_alone(kind, raw, tmp_path):
    first = numbers(ready(kind, tmp_path, validation=8).val)
    assert numbers(ready(kind, tmp_path, validation=8, seed=7, batch_size=3, limit_train=4).val) == first
    assert numbers(ready(kind, tmp_path, validation=8, split_seed=1).val) != first


def test_validation_test_trains_on_all_images_and_validates_on_the_test_images(kind, raw, tmp_path):
    data = ready(kind, tmp_path, validation="test")
    assert numbers(data.train) == list(range(TRAIN))
    assert set(data.train.data[:, 0, 0, 1].tolist()) == {1}
    assert torch.equal(data.val.data, data.test.data)
    assert numbers(data.val) == list(range(TEST))


@pytest.mark.parametrize(("limit", "count"), [(5, 5), (1000, TRAIN - 8)])
def test_limit_train_keeps_the_first_images_and_leaves_validation_alone(kind, raw, tmp_path, limit, count):
    every, limited = ready(kind, tmp_path, validation=8), ready(kind, tmp_path, validation=8, limit_train=limit)
    assert numbers(limited.train) == numbers(every.train)[:count]
    assert numbers(limited.val) == numbers(every.val)


def test_the_fingerprint_tells_splits_apart(kind, raw, tmp_path):
    first = ready(kind, tmp_path, validation=8).fingerprint()
    assert ready(kind, tmp_path, validation=8, seed=5).fingerprint() == first
    other = ready(kind, tmp_path, validation=8, split_seed=1).fingerprint()
    assert other["test"] == first["test"]
    assert other["train"] != first["train"]
    assert other["val"] != first["val"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_a_truncated_or_altered_file_is_refused_by_name(kind, raw, tmp_path, name, damage):
    content = damage(FILES[name])
    (raw / name).write_bytes(content)
    with pytest.raises(LabError, match="is damaged") as caught:
        kind(str(tmp_path)).prepare_data()
    message = str(caught.value)
    assert str(raw / name) in message
    assert f"{len(content):,} bytes" in message
    assert "\n" not in message


@pytest.mark.parametrize("missing", [list(FILES), ["t10k-labels-idx1-ubyte"]])
def test_without_files_and_network_one_line_says_what_would_do(kind, raw, tmp_path, missing):
    for name in missing:
        (raw / name).unlink()
    with pytest.raises(LabError) as caught:
        kind(str(tmp_path)).prepare_data()
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(raw), *FILES, "no network", "data=digits", "paths.data_dir"):
        assert part in message


def test_a_file_that_is_missing_is_fetched(kind, raw, tmp_path, monkeypatch, capsys):
    (raw / "t10k-labels-idx1-ubyte").unlink()

    def download(self):
        print("noise of the download")
        (raw / "t10k-labels-idx1-ubyte").write_bytes(FILES["t10k-labels-idx1-ubyte"])

    monkeypatch.setattr(kind.source, "download", download)
    ready(kind, tmp_path, validation=8)
    assert capsys.readouterr().out == f"{kind.name} is not in {raw}: fetching it\n"


@pytest.mark.parametrize("validation", ["train", "5000", "", 0, -1, 60_000, 0.1, None])
def test_a_validation_that_is_neither_test_nor_a_number_of_images_is_refused(validation):
    with pytest.raises(ValueError, match=r"^data\.validation must be the word test or a number from 1 to 59999"):
        MNIST("nowhere", validation=validation)


@pytest.mark.parametrize(("key", "value"), [("batch_size", 0), ("limit_train", 0), ("limit_train", -3)])
def test_sizes_below_1_are_refused(key, value):
    with pytest.raises(ValueError, match=rf"^data\.{key} must be at least 1.*, got {value}$"):
        MNIST("nowhere", **{key: value})
