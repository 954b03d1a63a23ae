"""On small files that are made up here, compressed as the published ones are."""

import gzip
import hashlib

import pytest
import torch
from idx_files import FILES, TEST, TRAIN

from diffusion_lab.data import KMNIST
from diffusion_lab.data import downloaded as downloads
from diffusion_lab.errors import LabError

PUBLISHED = {f"{name}.gz": gzip.compress(content) for name, content in FILES.items()}


def unreachable(*arguments):
    raise OSError("no network")


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """The folder of the files, which KMNIST takes for the published ones; there is no network."""
    monkeypatch.setattr(KMNIST, "checksums", {name: hashlib.md5(c).hexdigest() for name, c in PUBLISHED.items()})
    monkeypatch.setattr(downloads, "download_url", unreachable)
    folder = tmp_path / "KMNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in PUBLISHED.items():
        (folder / name).write_bytes(content)
    return folder


def ready(folder, **options):
    data = KMNIST(str(folder), **options)
    data.prepare_data()
    data.setup()
    return data


def test_the_checksums_are_those_of_torchvision():
    assert KMNIST.checksums["train-images-idx3-ubyte.gz"] == "bdb82020997e1d708af4cf47b453dcf7"
    assert len(KMNIST.checksums) == 4
    assert all(mirror.startswith("http") for mirror in KMNIST.mirrors)


def test_the_compressed_files_are_read(raw, tmp_path):
    data = ready(tmp_path, validation=8)
    assert [len(split) for split in (data.train, data.val, data.test)] == [TRAIN - 8, 8, TEST]
    assert bytes(data.test.data.flatten().tolist()) == FILES["t10k-images-idx3-ubyte"][16:]
    assert data.test.labels.tolist() == [i % 10 for i in range(TEST)]
    assert (data.shape, data.num_classes, data.test.labels.dtype) == ((1, 28, 28), 10, torch.int64)


def test_another_file_of_that_name_is_refused_by_name(raw, tmp_path):
    path = raw / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(FILES["t10k-labels-idx1-ubyte"], 1) + b"x")
    with pytest.raises(LabError, match="is damaged") as caught:
        KMNIST(str(tmp_path)).prepare_data()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_files_and_network_one_line_says_what_would_do(raw, tmp_path):
    (raw / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(LabError) as caught:
        KMNIST(str(tmp_path)).prepare_data()
    for part in (str(raw), *PUBLISHED, "no network", "data=digits", "paths.data_dir"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_what_is_missing_is_fetched_and_from_the_next_mirror_if_one_fails(raw, tmp_path, monkeypatch):
    name, asked = "train-labels-idx1-ubyte.gz", []
    (raw / name).unlink()

    def download(url, folder, file, md5):
        asked.append(url)
        if url.startswith("http://one/"):
            raise OSError("gone")
        assert md5 == KMNIST.checksums[file]
        (folder / file).write_bytes(PUBLISHED[file])

    monkeypatch.setattr(KMNIST, "mirrors", ("http://one/", "http://two/"))
    monkeypatch.setattr(downloads, "download_url", download)
    assert len(ready(tmp_path, validation=8).train) == TRAIN - 8
    assert asked == [f"http://one/{name}", f"http://two/{name}"]
